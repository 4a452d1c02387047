//! Long work on a thread of its own, while the calling thread listens to signals: Ctrl-C ends the wait at once, the work
//! at its next stage.

use crate::errors::{internal, raise};
use pyo3::prelude::*;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use wasm_torch::Error;

/// What the thread tells the caller.
enum Event<T> {
    Stage(String),
    Done(thread::Result<Result<T, Error>>),
}

/// Ends a thread whose result nobody waits for; carried by an unwinding that no hook reports.
struct Abandoned;

/// How long a signal may go unnoticed.
const PATIENCE: Duration = Duration::from_millis(30);
/// Graphs are walked recursively; main threads have this much as well.
const STACK_BYTES: usize = 64 << 20;

/// Runs `work`, which tells its stages to the function that it is given.
pub fn run<T: Send + 'static>(
    py: Python<'_>,
    progress: Option<&Py<PyAny>>,
    work: impl FnOnce(&mut dyn FnMut(&str)) -> Result<T, Error> + Send + 'static,
) -> PyResult<T> {
    let (send, receive) = mpsc::channel();
    let receive = Mutex::new(receive);
    let abandoned = Arc::new(AtomicBool::new(false));
    let asked = abandoned.clone();
    let body = move || {
        let mut observer = |stage: &str| {
            if asked.load(Ordering::SeqCst) {
                resume_unwind(Box::new(Abandoned));
            }
            // Nobody listens to an abandoned thread.
            let _ = send.send(Event::Stage(stage.into()));
        };
        let result = catch_unwind(AssertUnwindSafe(|| work(&mut observer)));
        let _ = send.send(Event::Done(result));
    };
    thread::Builder::new().name("wasm-torch".into()).stack_size(STACK_BYTES).spawn(body)?;
    let given_up = |error: PyErr| {
        abandoned.store(true, Ordering::SeqCst);
        error
    };
    loop {
        match py.detach(|| receive.lock().expect("one listener").recv_timeout(PATIENCE)) {
            Ok(Event::Stage(stage)) => {
                if let Some(progress) = progress {
                    progress.call1(py, (stage,)).map_err(given_up)?;
                }
            }
            Ok(Event::Done(Ok(result))) => return result.map_err(raise),
            Ok(Event::Done(Err(panic))) => return Err(internal(py, &*panic)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(internal(py, &"the compiler's thread is gone")),
        }
        py.check_signals().map_err(given_up)?;
    }
}
