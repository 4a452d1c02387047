//! Time limits of runs: one thread of the process stops those that take too long.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex};
use std::time::Instant;
use wasm_torch::StopHandle;

/// Runs that have a limit, by the moment at which it is reached.
struct Watched {
    runs: BTreeMap<(Instant, u64), StopHandle>,
    next: u64,
    /// The process that the thread belongs to: a fork has none.
    process: Option<u32>,
}

static WATCHED: Mutex<Watched> = Mutex::new(Watched { runs: BTreeMap::new(), next: 0, process: None });
static CHANGED: Condvar = Condvar::new();

/// A run with a limit; dropped when the run has ended.
pub struct Limit((Instant, u64));

/// From `limit` on, the run of `handle` is asked to stop.
pub fn limit(handle: StopHandle, limit: Instant) -> std::io::Result<Limit> {
    let mut watched = WATCHED.lock().expect("nothing panics under it");
    if watched.process != Some(std::process::id()) {
        watched.runs.clear();
        std::thread::Builder::new().name("wasm-torch limits".into()).spawn(watch)?;
        watched.process = Some(std::process::id());
    }
    let key = (limit, watched.next);
    watched.next += 1;
    watched.runs.insert(key, handle);
    CHANGED.notify_one();
    Ok(Limit(key))
}

impl Drop for Limit {
    fn drop(&mut self) {
        WATCHED.lock().expect("nothing panics under it").runs.remove(&self.0);
    }
}

fn watch() {
    let mut watched = WATCHED.lock().expect("nothing panics under it");
    loop {
        let now = Instant::now();
        let first = watched.runs.first_key_value().map(|((limit, _), _)| *limit);
        watched = match first {
            None => CHANGED.wait(watched).expect("nothing panics under it"),
            Some(limit) if limit > now => CHANGED.wait_timeout(watched, limit - now).expect("nothing panics under it").0,
            Some(_) => {
                let (_, handle) = watched.runs.pop_first().expect("there is one");
                handle.stop();
                watched
            }
        };
    }
}
