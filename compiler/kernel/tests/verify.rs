//! The verifier accepts what the builder writes and names what is broken: one broken kernel per line of its header.

use kernel::{Const, Expr, Fault, Imm, Instr, K, Kernel, Load, LoadOp, Local, LocalId, Param, ParamKind, Stmt, StoreOp, Ty, verify};

/// A kernel with the locals task, x (i32), v (v128), f (f32), where only `task` is set.
fn with_body(body: Vec<Stmt>) -> Kernel {
    let local = |name: &str, ty| Local { name: name.to_owned(), ty };
    let locals = vec![local("task", Ty::I32), local("x", Ty::I32), local("v", Ty::V128), local("f", Ty::F32)];
    Kernel { name: "broken".to_owned(), params: Vec::new(), locals, body }
}

const X: LocalId = LocalId(1);
const VEC: LocalId = LocalId(2);
const F: LocalId = LocalId(3);

fn fault(body: Vec<Stmt>) -> Fault {
    verify(&with_body(body)).unwrap_err().fault
}

fn task() -> Expr {
    Expr::Local(Kernel::TASK)
}

fn vector() -> Expr {
    Expr::Const(Const::V128(1))
}

fn op(instr: Instr, imm: Imm, args: Vec<Expr>) -> Expr {
    Expr::Op { instr, imm, args }
}

#[test]
fn parameters() {
    let mut kernel = with_body(Vec::new());
    kernel.params.push(Param { name: "p".to_owned(), kind: ParamKind::Arena, local: VEC });
    assert_eq!(verify(&kernel).unwrap_err().fault, Fault::BadParam("p".to_owned()));
    kernel.params[0].local = Kernel::TASK;
    assert_eq!(verify(&kernel).unwrap_err().fault, Fault::BadParam("p".to_owned()));
    kernel.params[0].local = X;
    assert_eq!(verify(&kernel), Ok(()));
    kernel.locals.clear();
    assert_eq!(verify(&kernel).unwrap_err().fault, Fault::NoTask);
}

#[test]
fn operands() {
    assert_eq!(fault(vec![Stmt::Set(LocalId(9), task())]), Fault::UndeclaredLocal(9));
    assert_eq!(fault(vec![Stmt::Set(X, Expr::Local(LocalId(8)))]), Fault::UndeclaredLocal(8));
    let missing = op(Instr::I32Add, Imm::None, vec![task()]);
    assert!(matches!(fault(vec![Stmt::Set(X, missing)]), Fault::OperandCount { expected: 2, found: 1, .. }));
    let mixed = op(Instr::I32Add, Imm::None, vec![task(), vector()]);
    let found = fault(vec![Stmt::Set(X, mixed)]);
    assert_eq!(found, Fault::OperandType { what: "i32.add".to_owned(), index: 1, expected: Ty::I32, found: Ty::V128 });
    let arms = Expr::Select { cond: Box::new(task()), if_true: Box::new(task()), if_false: Box::new(vector()) };
    assert!(matches!(fault(vec![Stmt::Set(X, arms)]), Fault::OperandType { index: 1, .. }));
}

#[test]
fn immediates() {
    let lane = |imm| vec![Stmt::Set(F, op(Instr::F32x4ExtractLane, imm, vec![vector()]))];
    assert_eq!(verify(&with_body(lane(Imm::Lane(3)))), Ok(()));
    assert!(matches!(fault(lane(Imm::Lane(4))), Fault::LaneRange { lane: 4, lanes: 4, .. }));
    assert!(matches!(fault(lane(Imm::None)), Fault::ImmediateKind { .. }));
    let shuffle = |last| {
        let mut lanes = [0; 16];
        lanes[15] = last;
        vec![Stmt::Set(VEC, op(Instr::I8x16Shuffle, Imm::Shuffle(lanes), vec![vector(), vector()]))]
    };
    assert_eq!(verify(&with_body(shuffle(31))), Ok(()));
    assert_eq!(fault(shuffle(32)), Fault::ShuffleRange(32));
}

#[test]
fn memory() {
    let load = |op, addr, lane| Expr::Load(Box::new(Load { op, addr, offset: 0, lane }));
    let set = |value| vec![Stmt::Set(VEC, value)];
    assert!(matches!(fault(set(load(LoadOp::V128Load, vector(), None))), Fault::OperandType { .. }));
    assert!(matches!(fault(set(load(LoadOp::V128Load32Lane, task(), None))), Fault::LaneOperand { .. }));
    assert!(matches!(fault(set(load(LoadOp::V128Load, task(), Some((0, vector()))))), Fault::LaneOperand { .. }));
    assert!(matches!(fault(set(load(LoadOp::V128Load64Lane, task(), Some((2, vector()))))), Fault::LaneRange { .. }));
    let store = |op, value, lane| vec![Stmt::Store { op, addr: task(), offset: 0, value, lane }];
    assert!(matches!(fault(store(StoreOp::F32Store, vector(), 0)), Fault::OperandType { .. }));
    assert!(matches!(fault(store(StoreOp::V128Store32Lane, vector(), 4)), Fault::LaneRange { .. }));
    assert!(matches!(fault(store(StoreOp::V128Store, vector(), 1)), Fault::LaneRange { .. }));
}

#[test]
fn statements() {
    assert!(matches!(fault(vec![Stmt::Set(F, task())]), Fault::SetType { .. }));
    assert!(matches!(fault(vec![Stmt::While { cond: vector(), body: Vec::new() }]), Fault::OperandType { .. }));
    assert!(matches!(fault(vec![Stmt::Copy { dst: task(), src: task(), len: vector() }]), Fault::OperandType { .. }));
    assert!(matches!(fault(vec![Stmt::Fill { dst: task(), byte: vector(), len: task() }]), Fault::OperandType { .. }));
}

#[test]
fn loops() {
    let looped = |start, end, step, body| {
        let (start, end) = (Expr::i32(start), Expr::i32(end));
        vec![Stmt::For { var: X, start, end, step, body }]
    };
    assert_eq!(fault(looped(0, 4, 0, vec![])), Fault::ZeroStep);
    assert_eq!(fault(looped(-1, 4, 1, vec![])), Fault::NegativeBound(-1));
    assert!(matches!(fault(looped(0, i32::MAX, u32::MAX, vec![])), Fault::LoopWraps { .. }));
    assert_eq!(fault(looped(0, 4, 1, vec![Stmt::Set(X, task())])), Fault::LoopVariableAssigned("x".to_owned()));
}

#[test]
fn set_before_use() {
    let use_f = || Stmt::Store { op: StoreOp::F32Store, addr: task(), offset: 0, value: Expr::Local(F), lane: 0 };
    let set_f = || Stmt::Set(F, Expr::Const(Const::F32(0)));
    let unset = Fault::UseBeforeSet("f".to_owned());
    assert_eq!(fault(vec![use_f()]), unset);
    assert_eq!(verify(&with_body(vec![set_f(), use_f()])), Ok(()));
    // A branch that sets it is not enough, both are, and so is one if the other returns.
    let branch = |then, otherwise| Stmt::If { cond: task(), then, otherwise };
    assert_eq!(fault(vec![branch(vec![set_f()], vec![]), use_f()]), unset);
    assert_eq!(verify(&with_body(vec![branch(vec![set_f()], vec![set_f()]), use_f()])), Ok(()));
    assert_eq!(verify(&with_body(vec![branch(vec![set_f()], vec![Stmt::Return]), use_f()])), Ok(()));
    // A loop that may not run sets nothing; one that does, does.
    let looped = |end, body| Stmt::For { var: X, start: Expr::i32(0), end, step: 1, body };
    assert_eq!(fault(vec![looped(task(), vec![set_f()]), use_f()]), unset);
    assert_eq!(verify(&with_body(vec![looped(Expr::i32(2), vec![set_f()]), use_f()])), Ok(()));
    assert_eq!(fault(vec![looped(Expr::i32(2), vec![use_f(), set_f()])]), unset);
    // The variable ends with its loop, also where an inner loop reuses it.
    let use_x = || Stmt::Set(F, op(Instr::F32ConvertI32S, Imm::None, vec![Expr::Local(X)]));
    let unset_x = Fault::UseBeforeSet("x".to_owned());
    assert_eq!(fault(vec![looped(Expr::i32(2), vec![]), use_x()]), unset_x);
    let outer = Stmt::While { cond: task(), body: vec![use_x(), looped(Expr::i32(2), vec![])] };
    assert_eq!(fault(vec![Stmt::Set(X, task()), outer]), unset_x);
    let cond = Stmt::While { cond: Expr::Local(X), body: vec![looped(Expr::i32(2), vec![])] };
    assert_eq!(fault(vec![Stmt::Set(X, task()), cond]), unset_x);
}

#[test]
fn errors_name_the_kernel_and_the_statement() {
    let mut k = K::new("sum");
    let x = k.arena("x");
    let sum = k.local::<kernel::F32>("sum");
    k.for_("i", 0, 16, 4, |k, i| k.set(sum, sum + kernel::load::<kernel::F32>(x + i, 0)));
    let error = verify(&k.finish()).unwrap_err();
    assert_eq!(error.to_string(), "kernel `sum`, at `sum = sum + f32.load[x + i]`: local `sum` may be used before it is set");
}
