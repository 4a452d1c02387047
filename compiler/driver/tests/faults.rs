//! Faults around an export: full disks, targets that may not be written, a process that dies while it writes; and runs that
//! are stopped at every step. What was there stays whole, nothing is left behind, and the message says what to do.
#![cfg(unix)]

mod common;

use common::{Answer, Room, model};
use std::io::Write;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use wasm_torch::engine::EngineError;
use wasm_torch::{Instance, LoadOptions, NamedTensor};

const DIGITS: &str = "digits/digits.dynamo.onnx";

fn text(output: Output) -> Answer {
    let utf8 = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Answer { code: output.status.code().unwrap_or(-1), stdout: utf8(&output.stdout), stderr: utf8(&output.stderr) }
}

/// Runs a shell script in the room; `$0` is the program, `$1` the model.
fn shell(room: &Room, script: &str) -> Answer {
    let program = env!("CARGO_BIN_EXE_wasm-torch");
    let output = Command::new("sh").args(["-c", script, program, &model(DIGITS)]).current_dir(room.path("")).output();
    text(output.expect("a shell"))
}

/// Runs a script that mounts a small file system on `disk`; `None`, said loudly, where that is not allowed.
fn on_a_disk(test: &str, room: &Room, script: &str) -> Option<Answer> {
    std::fs::create_dir(room.path("disk")).expect("a folder");
    let program = env!("CARGO_BIN_EXE_wasm-torch");
    let mount = "mount -t tmpfs -o size=100k tmpfs disk || exit 99";
    let script = format!("{mount}\n{script}");
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script, program, &model(DIGITS)])
        .current_dir(room.path(""))
        .output();
    let answer = output.ok().map(text).filter(|a| a.code != 99 && !a.stderr.contains("unshare:"));
    if answer.is_none() {
        // Past the harness, which swallows what a passing test prints.
        let _ = writeln!(std::io::stderr(), "SKIPPED: {test}: file systems cannot be mounted here");
    }
    answer
}

#[test]
fn a_full_disk_keeps_the_old_module() {
    let script = "echo precious > disk/out.wasm\n\"$0\" export \"$1\" -o disk/out.wasm\necho code $?\ncat disk/out.wasm\nls -A disk";
    let Some(answer) = on_a_disk("a full disk", &Room::new(), script) else { return };
    assert_eq!(answer.stdout, "code 2\nprecious\nout.wasm\n", "{}", answer.stderr);
    assert!(
        answer.stderr.contains("cannot write disk/out.wasm: ") && answer.stderr.contains("hint: the disk is full"),
        "{}",
        answer.stderr
    );
}

#[test]
fn a_full_disk_keeps_external_weights_and_what_a_run_wrote() {
    let script = "echo precious > disk/out.wasm\n\"$0\" export \"$1\" -o disk/out.wasm --external-weights --precompress\necho code $?\n\
                  cat disk/out.wasm\nls -A disk | grep part";
    let Some(answer) = on_a_disk("a full disk with external weights", &Room::new(), script) else { return };
    assert_eq!(answer.stdout, "code 2\nprecious\n", "{}", answer.stderr);
    assert!(answer.stderr.contains("hint: the disk is full"), "{}", answer.stderr);
}

#[test]
fn a_read_only_disk_is_named() {
    let script =
        "echo precious > disk/out.wasm\nmount -o remount,ro disk\n\"$0\" export \"$1\" -o disk/out.wasm\necho code $?\ncat disk/out.wasm";
    let Some(answer) = on_a_disk("a read-only disk", &Room::new(), script) else { return };
    assert_eq!(answer.stdout, "code 2\nprecious\n", "{}", answer.stderr);
    assert!(answer.stderr.contains("hint: check the permissions of the file and its folder"), "{}", answer.stderr);
}

#[test]
fn a_full_device_is_an_error() {
    if !std::path::Path::new("/dev/full").exists() {
        let _ = writeln!(std::io::stderr(), "SKIPPED: a full device: there is no /dev/full");
        return;
    }
    let room = Room::new();
    let message = room.refused(&["export", &model(DIGITS), "-o", "/dev/full"]);
    assert!(message.contains("cannot write /dev/full") && message.contains("hint: the disk is full"), "{message}");
    let answer = shell(&room, "\"$0\" inspect \"$1\" > /dev/full");
    assert!(answer.code == 2 && answer.stderr.contains("cannot write the output"), "{answer:?}");
    assert!(room.files().is_empty());
}

/// The signal at a limit of sizes ends the process in the middle of the file, as `kill -9` does.
#[test]
fn a_process_that_dies_while_it_writes_harms_nothing() {
    let room = Room::new();
    room.write("out.wasm", b"precious");
    // 16 blocks of 512 bytes (or of 1024, in some shells).
    let killed = shell(&room, "ulimit -f 16; exec \"$0\" export -q \"$1\" -o out.wasm");
    assert_ne!(killed.code, 0, "{killed:?}");
    assert_eq!(std::fs::read(room.path("out.wasm")).unwrap(), b"precious");
    let left = room.files();
    assert!(left.len() == 2 && left[0].starts_with(".wasm-torch-"), "{left:?}");
    // Another command may still be at work in the folder: only what nobody writes any more goes.
    room.ok(&["export", "-q", &model(DIGITS), "-o", "other.wasm"]);
    assert_eq!(room.files(), ["other.wasm", "out.wasm"]);
    assert_eq!(std::fs::read(room.path("out.wasm")).unwrap(), b"precious");
    // The same limit without the signal is an error like any other.
    let refused = shell(&room, "trap '' XFSZ; ulimit -f 16; exec \"$0\" export -q \"$1\" -o out.wasm");
    assert!(refused.code == 2 && refused.stderr.contains("cannot write out.wasm"), "{refused:?}");
    assert_eq!(room.files(), ["other.wasm", "out.wasm"]);
}

#[test]
fn kill_9_at_any_time_leaves_the_old_module_or_the_new_one() {
    let room = Room::new();
    let export = ["export", "-q", &model(DIGITS), "-o", "out.wasm"];
    let start = Instant::now();
    room.ok(&export);
    let whole = start.elapsed();
    let new = std::fs::read(room.path("out.wasm")).unwrap();
    let (mut before, rounds) = (0, 24);
    for round in 0..rounds {
        room.write("out.wasm", b"precious");
        let mut child = room.command(&export).spawn().expect("starts");
        std::thread::sleep(whole * round / (rounds * 9 / 10));
        child.kill().expect("a process");
        child.wait().expect("ends");
        let found = std::fs::read(room.path("out.wasm")).unwrap();
        assert!(found == b"precious" || found == new, "{} bytes after round {round}", found.len());
        before += u32::from(found == b"precious");
    }
    assert!(before > 0, "no process was killed before its end");
    room.ok(&export);
    assert_eq!(room.files(), ["out.wasm"]);
}

#[test]
fn a_cache_that_cannot_be_written_keeps_nothing_from_running() {
    let room = Room::new();
    room.ok(&["export", "-q", &model(DIGITS), "-o", "out.wasm"]);
    let file = std::fs::read(room.path("out.wasm")).unwrap();
    for cache in ["/dev/null/cache", "/proc/cache"] {
        let options = LoadOptions { cache: Some(cache.into()), ..LoadOptions::default() };
        Instance::load_with(&file, &options).expect("loads");
    }
}

/// Before every step: the run ends there, and the next one is right.
#[test]
fn a_run_can_be_stopped_at_every_step() {
    let room = Room::new();
    room.ok(&["export", "-q", &model(DIGITS), "-o", "out.wasm"]);
    let file = std::fs::read(room.path("out.wasm")).unwrap();
    for (variant, threads) in [("baseline", 1), ("relaxed", 1), ("threads", 1), ("threads", 2)] {
        let options = LoadOptions { variant: Some(variant.into()), threads: Some(threads), ..LoadOptions::default() };
        let mut instance = Instance::load_with(&file, &options).expect("loads");
        let inputs: Vec<NamedTensor> = instance
            .manifest()
            .inputs
            .iter()
            .map(|port| {
                let shape: Vec<usize> = port.shape.iter().map(|d| *d as usize).collect();
                NamedTensor::new(&port.name, ir::Tensor::random(ir::DType::F32, &shape, 1))
            })
            .collect();
        let expected = instance.forward(&inputs).expect("runs");
        let (stop, steps) = (instance.stop_handle(), instance.steps());
        for step in 0..steps {
            instance.write_inputs(&inputs).expect("fits");
            assert_eq!(instance.run_steps(0..step).expect("runs"), step);
            stop.stop();
            let error = instance.run_steps(step..steps).expect_err("stopped");
            assert!(
                matches!(error, EngineError::Status { status: abi::Status::Cancelled, step: at, .. } if at as usize == step),
                "{error}"
            );
            assert_eq!(instance.forward(&inputs).expect("runs again"), expected, "{variant} after step {step}");
        }
        // From another thread at any time.
        let (ended, watch) = (AtomicBool::new(false), Ordering::SeqCst);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !ended.load(watch) {
                    stop.stop();
                    std::thread::sleep(Duration::from_micros(300));
                }
            });
            for _ in 0..200 {
                match instance.forward(&inputs) {
                    Ok(outputs) => assert_eq!(outputs, expected),
                    Err(error) => assert!(matches!(error, EngineError::Status { status: abi::Status::Cancelled, .. }), "{error}"),
                }
            }
            ended.store(true, watch);
        });
    }
}
