//! What the builder simplifies computes the same as what it was given: random trees of `i32` arithmetic, both ways.

mod support;

use kernel::{Expr, Imm, Instr, Interp, K, Kernel, Stmt, StoreOp, lanes::Lanes};
use support::{Rng, put_words};

const OPERATORS: [Instr; 11] = [
    Instr::I32Add,
    Instr::I32Add,
    Instr::I32Sub,
    Instr::I32Mul,
    Instr::I32Shl,
    Instr::I32ShrU,
    Instr::I32ShrS,
    Instr::I32And,
    Instr::I32Or,
    Instr::I32DivU,
    Instr::I32RemU,
];

/// A random tree over `leaves`, as it is and simplified.
fn tree(rng: &mut Rng, leaves: &[Expr], depth: u32) -> (Expr, Expr) {
    if depth == 0 || rng.below(6) == 0 {
        let constants = [0, 1, -1, 2, 3, 4, 8, 12, 64, -64, 1000, i32::MAX, i32::MIN];
        let leaf = match rng.below(2) {
            0 => leaves[rng.below(leaves.len())].clone(),
            _ => Expr::i32(constants[rng.below(constants.len())]),
        };
        return (leaf.clone(), leaf);
    }
    let instr = OPERATORS[rng.below(OPERATORS.len())];
    let (a, simple_a) = tree(rng, leaves, depth - 1);
    let (b, simple_b) = if matches!(instr, Instr::I32DivU | Instr::I32RemU) {
        let divisor = Expr::i32([1, 2, 3, 8, 32, i32::MIN][rng.below(6)]);
        (divisor.clone(), divisor)
    } else {
        tree(rng, leaves, depth - 1)
    };
    let plain = Expr::Op { instr, imm: Imm::None, args: vec![a, b] };
    (plain, Expr::op(instr, Imm::None, vec![simple_a, simple_b]))
}

fn size(expr: &Expr) -> usize {
    let mut nodes = 0;
    expr.walk(&mut |_| nodes += 1);
    nodes
}

#[test]
fn simplified_trees_compute_the_same() {
    let mut rng = Rng(5);
    let (mut before, mut after) = (0, 0);
    for _ in 0..3000 {
        let mut k = K::new("trees");
        let leaves = [k.scalar("a"), k.scalar("b")].map(|v| v.get().into_expr());
        let (plain, simple) = tree(&mut rng, &leaves, 5);
        before += size(&plain);
        after += size(&simple);
        for (offset, value) in [(64, plain), (68, simple)] {
            k.push(Stmt::Store { op: StoreOp::I32Store, addr: Expr::i32(0), offset, value, lane: 0 });
        }
        let kernel: Kernel = k.finish();
        for _ in 0..4 {
            let mut memory = vec![0; 128];
            put_words(&mut memory, 0, &[rng.u64() as u32, rng.below(40) as u32]);
            Interp::new(&mut memory).run(&kernel, 0, 0).unwrap();
            let word = |at: usize| u32::from_bits(u128::from(u32::from_le_bytes(memory[at..at + 4].try_into().unwrap())));
            assert_eq!(word(64), word(68), "{kernel}");
        }
    }
    assert!(after < before, "nothing was simplified: {before} nodes before, {after} after");
}
