//! Random plans: what placement makes passes the check and is tight; what is damaged afterwards does not pass.

use super::*;
use crate::LowerError;
use crate::plan::{Arg, Buffer, Port, Step};
use kernel::{K, ParamKind};

/// SplitMix64.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

/// Builds a plan step by step; kernel `n` has `n` arena parameters.
struct Builder {
    plan: Plan,
}

impl Builder {
    fn new() -> Builder {
        let kernels = (0..8).map(|n| {
            let mut k = K::new(format!("k{n}"));
            (0..n).for_each(|i| {
                k.param(&format!("p{i}"), ParamKind::Arena);
            });
            k.finish()
        });
        let plan = Plan {
            model: "random".into(),
            kernels: kernels.collect(),
            steps: vec![],
            buffers: vec![],
            weights: vec![],
            inputs: vec![],
            outputs: vec![],
            layers: vec![],
            free: Default::default(),
            states: vec![],
            arena_bytes: 0,
            live_bytes: 0,
        };
        Builder { plan }
    }

    fn buffer(&mut self, bytes: u32) -> BufferId {
        let name = format!("b{}", self.plan.buffers.len());
        self.plan.buffers.push(Buffer { name, bytes, align: 64, live: 0..0, offset: 0, persistent: false });
        BufferId(self.plan.buffers.len() - 1)
    }

    fn port(&self, buffer: BufferId) -> Port {
        let bytes = self.plan.buffers[buffer.0].bytes;
        let name = format!("port{}", buffer.0);
        Port { name, dtype: "u8".into(), shape: vec![bytes.into()], sizes: None, buffer, offset: 0, bytes }
    }

    fn input(&mut self, bytes: u32) -> BufferId {
        let buffer = self.buffer(bytes);
        let port = self.port(buffer);
        self.plan.inputs.push(port);
        buffer
    }

    fn output(&mut self, buffer: BufferId) {
        let port = self.port(buffer);
        self.plan.outputs.push(port);
    }

    fn step(&mut self, reads: &[BufferId], writes: &[BufferId]) {
        let mut used = writes.to_vec();
        used.extend(reads.iter().filter(|r| !writes.contains(r)));
        let args: Vec<Arg> = used.iter().map(|b| Arg::Buffer(*b, 0)).collect();
        let kernel = crate::plan::KernelId(args.len());
        self.plan.steps.push(Step {
            kernel,
            args,
            tasks: 1,
            sequential: false,
            origin: vec![],
            macs: 0,
            reads: reads.to_vec(),
            writes: writes.to_vec(),
            branch: None,
        });
    }

    fn apply(&mut self, reads: &[BufferId], bytes: u32) -> BufferId {
        let out = self.buffer(bytes);
        self.step(reads, &[out]);
        out
    }

    fn placed(mut self) -> Plan {
        set_lifetimes(&mut self.plan);
        place(&mut self.plan).unwrap();
        self.plan
    }
}

/// A network-like random plan: recent values are used more, some values are written twice or in place.
fn random_plan(rng: &mut Rng) -> Plan {
    let mut b = Builder::new();
    let size = |rng: &mut Rng| match rng.below(3) {
        0 => 1 + rng.below(100) as u32,
        1 => 64 * (1 + rng.below(64) as u32),
        _ => 1000 * (1 + rng.below(200) as u32),
    };
    let mut values: Vec<BufferId> = (0..1 + rng.below(3)).map(|_| size(rng)).map(|n| b.input(n)).collect();
    // An input that no step reads may be overwritten at once: the replay would rightly not mind.
    values.push(b.apply(&values, 100));
    for _ in 0..1 + rng.below(40) {
        let mut reads = vec![];
        for _ in 0..1 + rng.below(3) {
            let back = if rng.below(4) == 0 { values.len() } else { values.len().min(3) };
            let value = values[values.len() - 1 - rng.below(back)];
            if !reads.contains(&value) {
                reads.push(value);
            }
        }
        match rng.below(8) {
            // A margin first, then the inside.
            0 => {
                let bytes = size(rng);
                let out = b.buffer(bytes);
                b.step(&[], &[out]);
                b.step(&reads, &[out]);
                values.push(out);
            }
            1 => b.step(&reads, &[reads[0]]),
            _ => {
                let bytes = size(rng);
                values.push(b.apply(&reads, bytes));
            }
        }
    }
    for _ in 0..1 + rng.below(2) {
        let value = values[values.len() - 1 - rng.below(values.len().min(4))];
        b.output(value);
    }
    b.placed()
}

fn ratio(plan: &Plan) -> f64 {
    f64::from(plan.arena_bytes) / f64::from(plan.live_bytes)
}

#[test]
fn random_placements_pass_the_check_and_are_tight() {
    let mut rng = Rng(1);
    let mut ratios: Vec<f64> = vec![];
    for case in 0..3000 {
        let plan = random_plan(&mut rng);
        check(&plan).unwrap_or_else(|e| panic!("case {case}: {e}"));
        ratios.push(ratio(&plan));
    }
    ratios.sort_by(f64::total_cmp);
    let mean = ratios.iter().sum::<f64>() / ratios.len() as f64;
    println!("arena / live: mean {mean:.4}, p99 {:.3}, worst {:.3}", ratios[ratios.len() * 99 / 100], ratios[ratios.len() - 1]);
    assert!(ratios[0] >= 1.0, "an arena cannot be smaller than what is live");
    assert!(mean <= 1.01 && ratios[ratios.len() - 1] <= 1.15);
}

/// Replaying with a live range that is too short, or a placement that overlaps, must fail. A damage may be harmless; it
/// is harmful, and must be found, when two buffers that are used at the same step share a byte.
#[test]
fn damaged_placements_are_caught() {
    let mut rng = Rng(2);
    let (mut harmful, mut harmless) = (0, 0);
    for case in 0..3000 {
        let mut plan = random_plan(&mut rng);
        let truth: Vec<_> = plan.buffers.iter().map(|b| b.live.clone()).collect();
        let used: Vec<usize> = (0..plan.buffers.len()).filter(|i| !truth[*i].is_empty()).collect();
        let i = used[rng.below(used.len())];
        if rng.below(2) == 0 {
            // Somewhere else in the arena.
            let bytes = plan.buffers[i].bytes.next_multiple_of(64);
            let places = (plan.arena_bytes - bytes) / 64 + 1;
            plan.buffers[i].offset = 64 * rng.below(places as usize) as u32;
        } else {
            // Placed for a shorter life than it has; the true range is put back, so that the replay has to find it.
            plan.buffers[i].live.end -= 1;
            place(&mut plan).unwrap();
            plan.buffers[i].live = truth[i].clone();
        }
        let shares = |a: &Buffer, b: &Buffer| {
            let together = a.live.start < b.live.end && b.live.start < a.live.end;
            together && a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes
        };
        let collides = used.iter().any(|j| *j != i && shares(&plan.buffers[i], &plan.buffers[*j]));
        match (collides, check(&plan)) {
            (true, Err(_)) => harmful += 1,
            (false, Ok(())) => harmless += 1,
            (true, Ok(())) => panic!("case {case}: a collision was not found"),
            (false, Err(e)) => panic!("case {case}: a sound plan was refused: {e}"),
        }
    }
    println!("{harmful} harmful, {harmless} harmless");
    assert!(harmful > 500 && harmless > 100);
}

#[test]
fn each_fault_has_its_name() {
    let sound = || {
        let mut b = Builder::new();
        let x = b.input(256);
        let y = b.apply(&[x], 128);
        let z = b.apply(&[x, y], 100);
        b.output(z);
        b.placed()
    };
    check(&sound()).unwrap();
    let fault = |damage: &dyn Fn(&mut Plan)| {
        let mut plan = sound();
        damage(&mut plan);
        check(&plan).unwrap_err().to_string()
    };
    let names = [
        fault(&|p| p.steps[0].args[0] = Arg::Buffer(BufferId(1), 129)),
        fault(&|p| p.steps[0].args[0] = Arg::Scalar(0)),
        fault(&|p| p.steps[1].reads = vec![BufferId(1)]),
        fault(&|p| p.buffers[2].offset += 4),
        fault(&|p| p.arena_bytes -= 64),
        fault(&|p| p.buffers[1].live.end -= 1),
        fault(&|p| p.steps[0].writes.clear()),
        fault(&|p| p.steps.swap(0, 1)),
        fault(&|p| p.buffers[1].offset = p.buffers[0].offset),
        fault(&|p| p.outputs[0].bytes = 101),
        fault(&|p| p.outputs[0].buffer = BufferId(7)),
    ];
    expect_test::expect![[r#"
        step 0: argument 0 points 129 bytes into buffer `b1`, which has 128
        step 0: argument 0 does not fit the kernel's parameters
        step 1: buffer `b0` is an argument, but neither read nor written
        buffer `b2` at 388 is not aligned to 64
        buffer `b2` ends at 484, outside the arena of 448 bytes
        step 1 reads buffer `b1` outside its live range
        step 0: buffer `b1` is an argument, but neither read nor written
        step 0 reads buffer `b1`, which nothing wrote before
        step 0 writes buffer `b1` over `b0`, which it uses too
        port `port2`: 101 bytes do not fit in buffer `b2` of 100
        port `port2`: buffer 7 does not exist
    "#]]
    .assert_eq(&names.map(|n| n + "\n").concat());
}

/// Expand, depthwise with a margin, project with a residual: the shape of a mobile network.
#[test]
fn a_chain_with_residuals_is_tight() {
    let mut b = Builder::new();
    let floats = |side: u32, channels: u32| side * side * channels * 4;
    let mut x = b.input(floats(224, 3));
    let (mut side, mut channels) = (112, 32);
    x = b.apply(&[x], floats(side, channels));
    for (next, stride, repeats, expand) in
        [(16, 1, 1, 1), (24, 2, 2, 6), (32, 2, 3, 6), (64, 2, 4, 6), (96, 1, 3, 6), (160, 2, 3, 6), (320, 1, 1, 6)]
    {
        for i in 0..repeats {
            let hidden = b.buffer(floats(side + 2, channels * expand));
            b.step(&[], &[hidden]);
            b.step(&[x], &[hidden]);
            let to = if i == 0 { side / stride } else { side };
            let windowed = b.apply(&[hidden], floats(to, channels * expand));
            let reads = if i == 0 { vec![windowed] } else { vec![windowed, x] };
            x = b.apply(&reads, floats(to, next));
            (side, channels) = (to, next);
        }
    }
    let pooled = b.apply(&[x], 1280 * 4);
    let y = b.apply(&[pooled], 4000);
    b.output(y);
    let plan = b.placed();
    check(&plan).unwrap();
    assert!(ratio(&plan) <= 1.15, "arena is {:.3} × live", ratio(&plan));
}

#[test]
fn an_arena_beyond_the_limit_is_an_error() {
    let mut b = Builder::new();
    let x = b.input(1 << 30);
    let y = b.apply(&[x], 1 << 30);
    let z = b.apply(&[x, y], 1 << 20);
    b.output(z);
    set_lifetimes(&mut b.plan);
    let error = place(&mut b.plan).unwrap_err();
    assert_eq!(error, LowerError::TooLarge { what: "activations", bytes: (2 << 30) + (1 << 20), limit: 1 << 31 });
}
