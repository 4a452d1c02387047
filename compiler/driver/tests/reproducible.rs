//! The same model and options give the same bytes: in another folder, locale, time zone and environment, on another number
//! of processors, and with the other hash seeds that every process has.

mod common;

use common::{Room, model};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// Models and options: floats, several outputs, branches, free sizes, 8 bits, files beside the module.
const EXPORTS: &[(&str, &[&str])] = &[
    ("digits/digits.dynamo.onnx", &["--external-weights", "--precompress", "--types"]),
    ("digits/digits.legacy.onnx", &["-O3"]),
    ("digits/digits.dynamo.onnx", &["--quantize", "int8-static", "--ranges", "ranges.json"]),
    ("mlp/mlp.legacy.onnx", &["--quantize", "int8-dynamic"]),
    ("cases/flow/loop_nested.onnx", &[]),
    ("cases/symbolic_batch.onnx", &["--dim", "batch=1..8"]),
];

/// Settings that must not matter.
const ENVIRONMENTS: &[&[(&str, &str)]] = &[
    &[],
    &[("LC_ALL", "de_DE.UTF-8"), ("LANG", "de_DE.UTF-8"), ("TZ", "Asia/Kolkata"), ("COLUMNS", "40")],
    &[("LC_ALL", "tr_TR.UTF-8"), ("TZ", "America/St_Johns"), ("HOME", "/nowhere"), ("USER", "somebody"), ("RAYON_NUM_THREADS", "7")],
    &[("LC_ALL", "C"), ("TZ", "UTC"), ("SOURCE_DATE_EPOCH", "1"), ("TMPDIR", "/tmp"), ("RUST_LOG", "trace"), ("CLICOLOR_FORCE", "1")],
];

/// Every file but those that went in.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|e| e.expect("an entry"));
    let files = entries.map(|e| (e.file_name().to_string_lossy().into_owned(), std::fs::read(e.path()).expect("a file")));
    files.filter(|(name, _)| name != "ranges.json" && name != "in.onnx").collect()
}

#[test]
fn nothing_but_model_and_options_decides_the_bytes() {
    for (file, options) in EXPORTS {
        let mut first: Option<BTreeMap<String, Vec<u8>>> = None;
        for (number, environment) in ENVIRONMENTS.iter().enumerate() {
            let room = Room::new();
            let folder = room.path(if number % 2 == 0 { "a" } else { "another folder/with ümlauts" });
            std::fs::create_dir_all(&folder).expect("a folder");
            std::fs::copy(model("quantized/digits.ranges.json"), folder.join("ranges.json")).expect("a copy");
            std::fs::copy(model(file), folder.join("in.onnx")).expect("a copy");
            // By an absolute path in one, a relative one in the other; on one processor in every other, where that can be said.
            let source = if number % 2 == 0 { folder.join("in.onnx").display().to_string() } else { "in.onnx".into() };
            let mut command = room.command(&[]);
            if number % 2 == 1 && Command::new("taskset").arg("--version").output().is_ok() {
                command = Command::new("taskset");
                command.args(["-c", "0", env!("CARGO_BIN_EXE_wasm-torch")]);
            }
            command.current_dir(&folder).args(["export", "-q", &source, "-o", "out.wasm"]).args(*options).envs(environment.iter().copied());
            let output = command.output().expect("starts");
            assert!(output.status.success(), "{file} {options:?}: {}", String::from_utf8_lossy(&output.stderr));
            let found = contents(&folder);
            let expected = first.get_or_insert_with(|| found.clone());
            let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
            assert_eq!(names(expected), names(&found), "{file} {options:?}");
            let differ: Vec<&String> = found.iter().filter(|(name, bytes)| expected[*name] != **bytes).map(|(name, _)| name).collect();
            assert!(differ.is_empty(), "{file} {options:?} with {environment:?}: {differ:?} differ");
        }
        // No path of the machine is in the file.
        let module = &first.expect("exported")["out.wasm"];
        let text = String::from_utf8_lossy(module);
        for secret in ["ümlauts", env!("CARGO_MANIFEST_DIR"), "/tmp/", "/home/", "/root/"] {
            assert!(!text.contains(secret), "{file}: the module holds `{secret}`");
        }
    }
}
