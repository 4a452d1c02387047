//! The help texts of all commands, and what scripts rely on: exit codes, streams, colours, completions.

mod common;

use common::{Room, model};
use expect_test::expect_file;
use std::io::Read;
use std::process::Stdio;

#[test]
fn help_texts() {
    let room = Room::new();
    let mut text = String::new();
    for command in ["", "export", "run", "inspect", "verify", "bench", "dump", "completions"] {
        let args: Vec<&str> = [command, "--help"].into_iter().filter(|a| !a.is_empty()).collect();
        text.push_str(&format!("$ wasm-torch {}\n{}\n", args.join(" "), room.ok(&args)));
    }
    expect_file!["help.txt"].assert_eq(&text);
}

#[test]
fn the_version_is_the_crates() {
    assert_eq!(Room::new().ok(&["--version"]), format!("wasm-torch {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn every_shell_gets_completions() {
    let room = Room::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = room.ok(&["completions", shell]);
        assert!(script.contains("disable-pass"), "{shell}");
    }
}

#[test]
fn colours_only_when_asked_for_or_seen() {
    let room = Room::new();
    let mlp = model("mlp/mlp.legacy.onnx");
    let escape = '\x1b';
    assert!(!room.ok(&["inspect", &mlp]).contains(escape), "a pipe is no terminal");
    assert!(room.ok(&["inspect", &mlp, "--color", "always"]).contains(escape));
    assert!(!room.ok(&["inspect", &mlp, "--color=never"]).contains(escape));
    assert!(room.run(&["export", "none.onnx", "--color=always"]).stderr.contains("\x1b[1;31merror:"));
    assert!(room.run(&["export", "--colour", "--color=always"]).stderr.contains(escape), "the parser's messages too");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let room = Room::new();
    let mut child = room
        .command(&["dump", &model("digits/digits.legacy.onnx"), "--graph"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    drop(child.stdout.take());
    let mut stderr = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut stderr).expect("UTF-8");
    assert_eq!((child.wait().expect("an end").code(), stderr.as_str()), (Some(0), ""));
}
