//! Worker threads of an instance: each instantiates the same module over the shared memory and works until it is told to
//! stop. What they do there is the runtime's business.

use super::EngineError;
use super::host::{self, Store};
use super::memory::Memory;
use std::sync::mpsc::{self, Receiver};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use wasmtime::{Engine, Module, TypedFunc};

/// How long workers may take to start: instantiation is a millisecond.
const START_LIMIT: Duration = Duration::from_secs(20);

/// The threads of one instance besides the caller's. They end when asked to; dropping this only waits for that.
pub struct Workers {
    threads: Vec<JoinHandle<()>>,
    failures: Receiver<String>,
}

/// What the calling thread's instance exports for threads.
pub struct Exports {
    start_threads: TypedFunc<u32, u32>,
    thread_stack: TypedFunc<u32, u32>,
    threads_ready: TypedFunc<(), u32>,
    stop_threads: TypedFunc<(), ()>,
    set_blocking: TypedFunc<u32, ()>,
    /// Modules of earlier compilers do not have it.
    watch: Option<TypedFunc<(), u32>>,
}

impl Exports {
    pub fn of(store: &mut Store, instance: &wasmtime::Instance) -> wasmtime::Result<Exports> {
        Ok(Exports {
            start_threads: instance.get_typed_func(&mut *store, "start_threads")?,
            thread_stack: instance.get_typed_func(&mut *store, "thread_stack")?,
            threads_ready: instance.get_typed_func(&mut *store, "threads_ready")?,
            stop_threads: instance.get_typed_func(&mut *store, "stop_threads")?,
            set_blocking: instance.get_typed_func(&mut *store, "set_blocking")?,
            watch: instance.get_typed_func(&mut *store, "watch").ok(),
        })
    }

    /// Starts `count` workers and waits until all of them are at work.
    pub fn start(&self, engine: &Engine, store: &mut Store, module: &Module, memory: &Memory, count: u32) -> Result<Workers, EngineError> {
        let failed = |what: String| EngineError::Threads(what);
        let wrong = |error: wasmtime::Error| EngineError::Threads(format!("{error:#}"));
        self.set_blocking.call(&mut *store, 1).map_err(wrong)?;
        if self.start_threads.call(&mut *store, count).map_err(wrong)? != 0 {
            return Err(failed("there is no memory for their stacks; export with a larger --pool-mb".into()));
        }
        if let Some(watch) = &self.watch {
            // A thread ends in `work` or not at all, so that nobody needs to guess from the time a task takes.
            watch.call(&mut *store, ()).map_err(wrong)?;
        }
        let (report, failures) = mpsc::channel();
        let mut workers = Workers { threads: vec![], failures };
        for index in 1..=count {
            let stack = self.thread_stack.call(&mut *store, index).map_err(wrong)?;
            let (engine, module, memory, report) = (engine.clone(), module.clone(), memory.clone(), report.clone());
            let body = move || {
                if let Err(error) = work(&engine, &module, &memory, index, stack) {
                    // The receiver is gone only when the instance is.
                    let _ = report.send(format!("{error:#}"));
                }
            };
            let thread = std::thread::Builder::new().name(format!("wasm-torch {index}")).spawn(body);
            workers.threads.push(thread.map_err(|error| failed(error.to_string()))?);
        }
        let start = Instant::now();
        while self.threads_ready.call(&mut *store, ()).map_err(wrong)? < count {
            if let Some(failure) = workers.failure() {
                self.stop(store, workers);
                return Err(failed(failure));
            }
            if start.elapsed() > START_LIMIT {
                self.stop(store, workers);
                return Err(failed(format!("they did not start within {} s", START_LIMIT.as_secs())));
            }
            std::thread::sleep(Duration::from_micros(50));
        }
        Ok(workers)
    }

    /// Asks the workers to return and waits until they have.
    pub fn stop(&self, store: &mut Store, workers: Workers) {
        // It cannot trap: it stores a word and wakes the sleepers.
        let asked = self.stop_threads.call(store, ()).is_ok();
        for thread in workers.threads.into_iter().filter(|_| asked) {
            let _ = thread.join();
        }
    }
}

impl Workers {
    /// Why a worker failed, if one has.
    pub fn failure(&self) -> Option<String> {
        self.failures.try_recv().ok()
    }
}

/// The life of one worker.
fn work(engine: &Engine, module: &Module, memory: &Memory, index: u32, stack: u32) -> wasmtime::Result<()> {
    let mut store = host::store(engine, None);
    let instance = wasmtime::Instance::new(&mut store, module, &[memory.as_extern()])?;
    let set_stack: TypedFunc<u32, ()> = instance.get_typed_func(&mut store, "set_stack")?;
    let worker: TypedFunc<u32, ()> = instance.get_typed_func(&mut store, "worker")?;
    let worker_failed: TypedFunc<(), ()> = instance.get_typed_func(&mut store, "worker_failed")?;
    set_stack.call(&mut store, stack)?;
    worker.call(&mut store, index).inspect_err(|_| {
        // Whoever waits for this worker must not wait for ever.
        let _ = worker_failed.call(&mut store, ());
    })
}
