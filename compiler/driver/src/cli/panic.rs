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
        let now = NOW.try_lock().ok().and_then(|now| now.clone());
        let place = info.location().map(|at| format!("{}:{}", at.file(), at.line()));
        let text = message(now.as_deref(), info.payload_as_str().unwrap_or("no message"), place.as_deref());
        let _ = std::io::stderr().write_all(text.as_bytes());
        if std::env::var_os("RUST_BACKTRACE").is_some() {
            default(info);
        }
    }));
}

fn message(now: Option<&str>, cause: &str, place: Option<&str>) -> String {
    let now = now.map_or(String::new(), |now| format!(" while {now}"));
    let place = place.map_or(String::new(), |place| format!(" ({place})"));
    format!(
        "error: {} failed{now}: {cause}{place}\n\
         This is a bug of the compiler, not of your model.\n\
         hint: please report it with the command and, if you can, the model: {}/issues\n",
        crate::PRODUCER,
        env!("CARGO_PKG_REPOSITORY"),
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_message_names_stage_cause_and_version() {
        let text = super::message(Some("running the pass nhwc_layout"), "index out of bounds", Some("a.rs:7"));
        let first = "failed while running the pass nhwc_layout: index out of bounds (a.rs:7)";
        assert_eq!(text.lines().next(), Some(format!("error: {} {first}", crate::PRODUCER).as_str()));
        assert!(text.contains("bug of the compiler") && text.contains("/issues"));
    }
}
