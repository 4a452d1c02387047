//! Makes an input that is wrong smaller while it stays wrong in the same way. Each try is a process: it may hang or abort.

use crate::Target;
use crate::supervise::{key, limited};
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// The smallest input found within a time.
pub(crate) fn minimise(target: &'static Target, program: &Path, input: Vec<u8>, wrong: &str, time: Duration) -> Vec<u8> {
    let start = Instant::now();
    let mut best = input;
    loop {
        let smaller = (target.shrink)(&best).into_iter().filter(|candidate| (candidate.len(), candidate) < (best.len(), &best));
        let found = smaller.take_while(|_| start.elapsed() < time).find(|candidate| same(target, program, candidate, wrong));
        match found {
            Some(found) => best = found,
            None => return best,
        }
    }
}

fn same(target: &'static Target, program: &Path, input: &[u8], wrong: &str) -> bool {
    let Ok(mut file) = tempfile::NamedTempFile::new() else { return false };
    if file.write_all(input).is_err() {
        return false;
    }
    let arguments = [target.name.to_string(), "--input".into(), file.path().display().to_string()];
    let Ok(mut child) = limited(target, program, &arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn() else { return false };
    let begin = Instant::now();
    let ended = loop {
        match child.try_wait() {
            Ok(Some(_)) => break true,
            Ok(None) if begin.elapsed() < Duration::from_secs(2 * target.seconds) => std::thread::sleep(Duration::from_millis(5)),
            _ => break false,
        }
    };
    if !ended {
        let _ = child.kill();
    }
    let Ok(output) = child.wait_with_output() else { return false };
    let text = String::from_utf8_lossy(&output.stdout);
    match text.lines().find_map(|line| line.strip_prefix("wrong ")) {
        Some(what) => key(what) == wrong,
        None if !ended => wrong == "hang",
        None => text.is_empty() && wrong.starts_with("abort"),
    }
}

/// Inputs without some of their bytes: halves first, then smaller pieces.
pub(crate) fn bytes(input: &[u8]) -> Vec<Vec<u8>> {
    let mut smaller = vec![];
    let mut piece = input.len() / 2;
    while piece > 0 && smaller.len() < 64 {
        for at in (0..input.len()).step_by(piece) {
            smaller.push([&input[..at], &input[(at + piece).min(input.len())..]].concat());
        }
        piece /= 2;
    }
    smaller
}
