//! The process in which inputs run: it says on stdout which seed comes, and what became of it. A panic is an answer; where
//! the process ends without one, the parent knows the seed.

use crate::{Target, Verdict};
use std::cell::RefCell;
use std::io::Write;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

/// The stack of a thread that others start for us, as hosts in other languages do.
const STACK: usize = 2 << 20;

thread_local! {
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Checks the inputs of the seeds.
pub fn seeds(target: &'static Target, seeds: Range<u64>) {
    std::thread::scope(|scope| {
        let run = move || {
            for seed in seeds {
                say(&format!("> {seed}"));
                say(&format!("< {seed} {}", line(caught(|| (target.make)(seed)).and_then(|input| check(target, &input)))));
            }
        };
        std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, run).expect("a thread").join().expect("panics are caught");
    });
}

/// Checks one input in this process: what is wrong with it.
pub fn check(target: &'static Target, input: &[u8]) -> Result<Verdict, String> {
    caught(|| (target.check)(input)).and_then(|verdict| verdict)
}

/// Checks one input in a thread like that of [`seeds`].
pub fn one(target: &'static Target, input: &[u8]) -> Result<Verdict, String> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, || check(target, input)).expect("a thread");
        thread.join().expect("panics are caught")
    })
}

/// The answer as the parent reads it.
pub fn line(result: Result<Verdict, String>) -> String {
    match result {
        Ok(Verdict::Accepted) => "accepted".into(),
        Ok(Verdict::Refused) => "refused".into(),
        Err(what) => format!("wrong {}", what.replace('\n', "\\n").chars().take(4000).collect::<String>()),
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // The parent may have gone.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// What `work` gives, or where it panicked.
fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        std::panic::set_hook(Box::new(|info| {
            let place = info.location().map_or(String::new(), |at| format!("{}:{}", at.file(), at.line()));
            let text = info.payload_as_str().unwrap_or("no message");
            PANIC.set(Some(format!("panic at {place}: {text}")));
            if std::env::var_os("RUST_BACKTRACE").is_some() {
                eprintln!("{}", std::backtrace::Backtrace::force_capture());
            }
        }));
    });
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| PANIC.take().unwrap_or_else(|| "panic".into()))
}
