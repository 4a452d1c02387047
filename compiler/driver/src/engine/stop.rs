//! How a run is stopped from another thread: the request, and who is told of it.

use super::memory::SharedWord;
#[cfg(doc)]
use abi::Status;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use wasmtime::Engine;

/// Stops a run of the instance it belongs to, from any thread.
#[derive(Clone)]
pub struct StopHandle {
    pub(super) asked: Arc<AtomicBool>,
    /// The word that the runtime looks at before every task, where memory is shared.
    pub(super) flag: Option<SharedWord>,
    /// The engine whose code looks up in between.
    pub(super) engine: Option<&'static Engine>,
}

impl StopHandle {
    /// Makes the run at hand, or the next one, end with [`Status::Cancelled`]: before its next task where the variant has
    /// threads, at once where it is interruptible, else before its next step.
    pub fn stop(&self) {
        self.asked.store(true, Ordering::SeqCst);
        if let Some(flag) = &self.flag {
            flag.store(1);
        }
        if let Some(engine) = self.engine {
            engine.increment_epoch();
        }
    }

    /// Takes back what no run has seen yet.
    pub fn clear(&self) {
        self.asked.store(false, Ordering::SeqCst);
        if let Some(flag) = &self.flag {
            flag.store(0);
        }
    }
}
