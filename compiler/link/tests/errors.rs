//! Plans that cannot be linked and bytes that are no module: each a typed error with a plain sentence.

mod common;

use common::{linked, plan};
use expect_test::{Expect, expect};
use link::{LinkError, LinkInfo, ManifestError, PlanError, link, read_manifest, read_sizes};
use lower::plan::{Arg, BufferId, KernelId, Plan, WeightId};
use proptest::prelude::*;

fn check(change: impl FnOnce(&mut Plan), expected: Expect) {
    let mut plan = plan();
    change(&mut plan);
    let error = link(&plan, &LinkInfo::default()).expect_err("a broken plan");
    assert!(matches!(error, LinkError::Plan(_)), "{error}");
    expected.assert_eq(&error.to_string());
}

#[test]
fn broken_plans() {
    check(
        |plan| plan.steps[0].kernel = KernelId(3),
        expect![[r#"
        the plan is inconsistent:
          step 0 (fc): kernel 3 of 3 does not exist"#]],
    );
    check(
        |plan| plan.steps[1].args.truncate(1),
        expect![[r#"
        the plan is inconsistent:
          step 1 (twice): kernel double_f32 takes 2 arguments, found 1"#]],
    );
    check(
        |plan| plan.steps[1].args[0] = Arg::Scalar(5),
        expect![[r#"
        the plan is inconsistent:
          step 1 (twice): parameter x of kernel double_f32 is Arena, found Scalar(5)"#]],
    );
    check(
        |plan| plan.steps[1].args[0] = Arg::Buffer(BufferId(9), 0),
        expect![[r#"
        the plan is inconsistent:
          step 1 (twice): buffer 9 of 3 does not exist"#]],
    );
    check(
        |plan| plan.steps[1].args[0] = Arg::Buffer(BufferId(1), 257),
        expect![[r#"
        the plan is inconsistent:
          step 1 (twice): byte 257 of buffer y, which has 256"#]],
    );
    check(
        |plan| plan.steps[0].args[1] = Arg::Weight(WeightId(3), 0),
        expect![[r#"
        the plan is inconsistent:
          step 0 (fc): weight 3 of 3 does not exist"#]],
    );
    check(
        |plan| plan.steps[0].args[1] = Arg::Weight(WeightId(1), 4),
        expect![[r#"
        the plan is inconsistent:
          step 0 (fc): byte 4 of weight odd, which has 3"#]],
    );
    check(
        |plan| plan.steps[0].reads.push(BufferId(4)),
        expect![[r#"
        the plan is inconsistent:
          step 0 (fc): buffer 4 of 3 does not exist"#]],
    );
    check(
        |plan| plan.arena_bytes = 700,
        expect![[r#"
        the plan is inconsistent:
          buffer z: byte 768 of arena tiny, which has 700"#]],
    );
    check(
        |plan| plan.buffers[1].offset = 260,
        expect![[r#"
        the plan is inconsistent:
          buffer y: alignment 64 is not a power of two that its offset 260 respects"#]],
    );
    check(
        |plan| plan.weights[1].align = 3,
        expect![[r#"
        the plan is inconsistent:
          weight odd: alignment 3 is not a power of two that its offset 0 respects"#]],
    );
    check(
        |plan| plan.inputs[0].bytes = 300,
        expect![[r#"
        the plan is inconsistent:
          input x: byte 300 of buffer x, which has 256"#]],
    );
    check(
        |plan| plan.outputs[0].buffer = BufferId(7),
        expect![[r#"
        the plan is inconsistent:
          output z: buffer 7 of 3 does not exist"#]],
    );
}

#[test]
fn every_problem_is_reported() {
    let mut plan = plan();
    plan.steps[0].kernel = KernelId(3);
    plan.steps[1].args.clear();
    let Err(LinkError::Plan(problems)) = link(&plan, &LinkInfo::default()) else { panic!("a broken plan") };
    assert!(matches!(problems[..], [PlanError::NoSuchKernel { .. }, PlanError::ArgCount { .. }]), "{problems:?}");
}

#[test]
fn a_kernel_that_cannot_be_emitted() {
    let mut plan = plan();
    plan.kernels[2].body.push(kernel::Stmt::Call { func: "topk_f32".into(), args: Vec::new() });
    let error = link(&plan, &LinkInfo::default()).expect_err("no such routine");
    assert!(matches!(error, LinkError::Emit(_)), "{error:?}");
    expect!["kernel `double_f32` calls `topk_f32`, which the module does not have"].assert_eq(&error.to_string());
}

/// The weights are never touched, so that they take address space only.
#[test]
fn weights_beyond_two_gib() {
    let mut plan = plan();
    plan.weights[2].bytes = vec![0; 1 << 31].into();
    let error = link(&plan, &LinkInfo::default()).expect_err("too large");
    assert!(matches!(error, LinkError::WeightsTooLarge { .. }), "{error}");
}

#[test]
fn too_much_for_a_32_bit_memory() {
    let mut plan = plan();
    plan.arena_bytes = u32::MAX - 100;
    let error = link(&plan, &LinkInfo::default()).expect_err("too large");
    assert!(matches!(error, LinkError::MemoryTooLarge { .. }), "{error}");
    assert!(error.to_string().contains("--dim"));
}

#[test]
fn a_large_pool_is_cut_at_the_end_of_memory() {
    let info = LinkInfo { pool_mb: 1 << 20, ..LinkInfo::default() };
    assert_eq!(link(&plan(), &info).expect("links").manifest.memory.maximum_pages, 65536);
}

#[test]
fn bytes_that_are_no_module() {
    let check = |bytes: &[u8], expected: Expect| {
        expected.assert_eq(&read_manifest(bytes).expect_err("no module").to_string());
    };
    check(b"", expect!["not a WebAssembly module: the file is empty"]);
    check(
        b"\0as",
        expect![[r#"
        the module is cut off: section 0 needs 5 more bytes
        hint: copy or download the file again"#]],
    );
    check(b"hello, world", expect!["not a WebAssembly module"]);
    check(b"\x89PNG\r\n\x1a\n....", expect!["not a WebAssembly module: this is a PNG image"]);
    check(b"\0asm\x0d\0\x01\0", expect!["a WebAssembly component, not a module"]);
    check(b"\0asm\x07\0\0\0", expect!["the module is damaged at byte 4: unknown version of the format"]);
    check(
        b"\0asm\x01\0\0\0",
        expect![[r#"
        a WebAssembly module without a wasm-torch manifest
        hint: make one with `wasm-torch export`"#]],
    );
    check(
        b"\0asm\x01\0\0\0\x01\xff\xff\xff\xff\xff\xff",
        expect!["the module is damaged at byte 8: invalid var_u32: integer representation too long"],
    );
    check(
        &with_manifest(br#"{"abi":5,"zebra":[]}"#),
        expect![[r#"
            the module has ABI version 5, this program knows 4
            hint: use a newer wasm-torch"#]],
    );
    check(
        &with_manifest(br#"{"abi":0}"#),
        expect![[r#"
            the module has ABI version 0, this program knows 4
            hint: export the model again"#]],
    );
    check(&with_manifest(br#"{"abi":4}"#), expect!["the manifest cannot be read: missing field `producer`"]);
    check(&with_manifest(b"\xff\xff"), expect!["the manifest cannot be read: expected value at line 1 column 1"]);
}

fn with_manifest(json: &[u8]) -> Vec<u8> {
    let name = abi::MANIFEST_SECTION.as_bytes();
    let mut bytes = b"\0asm\x01\0\0\0".to_vec();
    bytes.extend([0, (1 + name.len() + json.len()) as u8, name.len() as u8]);
    bytes.extend(name);
    bytes.extend(json);
    bytes
}

#[test]
fn a_module_that_was_cut_off() {
    let wasm = linked(&plan()).wasm;
    let mut truncated = 0;
    for length in 0..wasm.len() {
        match read_manifest(&wasm[..length]) {
            Err(ManifestError::Truncated { .. }) => truncated += 1,
            // Cut between two sections: a shorter module, with or without its manifest, that the engine will judge.
            Ok(_) | Err(ManifestError::NoManifest | ManifestError::Empty) => {}
            Err(error) => panic!("{length}: {error}"),
        }
    }
    assert!(truncated > wasm.len() - 20, "{truncated} of {}", wasm.len());
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut module = b"\0asm\x01\0\0\0".to_vec();
        module.extend(&bytes);
        let _ = read_manifest(&bytes);
        let _ = read_manifest(&module);
        let _ = read_sizes(&module);
        let _ = read_manifest(&with_manifest(&bytes[..bytes.len().min(80)]));
    }
}
