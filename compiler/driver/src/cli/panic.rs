//! A panic is a bug of the compiler: this says so, and says during what.

use std::io::Write;
use std::sync::Mutex;

static NOW: Mutex<Option<String>> = Mutex::new(None);

/// Remembers what is being done.
pub fn now(what: String) {
    if let Ok(mut now) = NOW.lock() {
        *now = Some(what);
    }
}

/// Replaces Rust's message; with RUST_BACKTRACE set, it follows.
pub fn install() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let what = NOW.try_lock().ok().and_then(|now| now.clone()).map_or(String::new(), |now| format!(" while {now}"));
        let cause = info.payload_as_str().unwrap_or("no message");
        let place = info.location().map_or(String::new(), |at| format!(" ({}:{})", at.file(), at.line()));
        let _ = writeln!(
            std::io::stderr(),
            "error: {} failed{what}: {cause}{place}\n\
             This is a bug of the compiler, not of your model.\n\
             hint: please report it with the command and, if you can, the model: {}/issues",
            crate::PRODUCER,
            env!("CARGO_PKG_REPOSITORY"),
        );
        if std::env::var_os("RUST_BACKTRACE").is_some() {
            default(info);
        }
    }));
}
