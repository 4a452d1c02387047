//! The thread pool: workers that take tasks of the step at hand from one counter. It creates no threads; the host does.
//!
//! One step at a time is shared, as the *job*. A worker enters the job through the gate, takes numbers of tasks from an
//! atomic counter until there are none, and leaves. The thread that published the job does the same, closes the gate and
//! waits until everyone has left; who has not entered by then is not waited for. So the job's fields never change while
//! anyone reads them, and a worker that sleeps costs nothing.

use crate::{Status, StepRecord, alloc, arena_base, call_kernel, free, status_code, stopped};
use abi::THREAD_STACK_BYTES;
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::{Relaxed, SeqCst};

#[link(wasm_import_module = "link")]
unsafe extern "C" {
    safe fn wait(address: *const u32, expected: u32, microseconds: u32);
    safe fn notify(address: *const u32, count: u32);
    safe fn set_arena_base(address: u32);
    safe fn set_stack_pointer(address: u32);
}

/// The job.
static KERNEL: AtomicU32 = AtomicU32::new(0);
static ARGS: AtomicU32 = AtomicU32::new(0);
static TASKS: AtomicU32 = AtomicU32::new(0);
/// The publisher's arena, in which everyone works.
static ARENA: AtomicU32 = AtomicU32::new(0);
/// The next task that nobody has taken. Every participant adds at most one beyond the last.
static NEXT: AtomicU32 = AtomicU32::new(0);
/// [`OPEN`] while the job may be entered, and how many workers are inside.
static GATE: AtomicU32 = AtomicU32::new(0);
const OPEN: u32 = 1 << 31;
/// Changes whenever there is something new for workers: a job, or the request to return.
static EPOCH: AtomicU32 = AtomicU32::new(0);

/// 1 while `run` is at work: there will soon be another job.
static RUNNING: AtomicU32 = AtomicU32::new(0);
/// Workers that sleep or are about to.
static SLEEPERS: AtomicU32 = AtomicU32::new(0);
/// 1 while the thread in `run` sleeps until the gate is empty.
static CALLER_SLEEPS: AtomicU32 = AtomicU32::new(0);

static READY: AtomicU32 = AtomicU32::new(0);
static STOP_WORKERS: AtomicU32 = AtomicU32::new(0);
/// 1 when a worker failed; the host may store it.
static FAILED: AtomicU32 = AtomicU32::new(0);
/// 1 when the host tells of workers that die.
static WATCHED: AtomicU32 = AtomicU32::new(0);
static BLOCKING: AtomicU32 = AtomicU32::new(0);
/// The block with the workers' stacks, and how many.
static STACKS: AtomicU32 = AtomicU32::new(0);
static STACK_COUNT: AtomicU32 = AtomicU32::new(0);

/// Turns that a worker spins before it sleeps: about 0.2 ms between the steps of a run, where sleeping and waking
/// (some 50 µs) would cost more than most steps that are not shared take, and some 10 µs between runs.
const SPIN_RUNNING: u32 = 100_000;
const SPIN_IDLE: u32 = 5_000;
/// Turns that the thread in `run` spins for the last tasks of a step before it sleeps, where it may.
const SPIN_CALLER: u32 = 20_000;
/// Bounds of the sleeps in microseconds: nothing that goes wrong with a wake-up lasts longer.
const WORKER_SLEEP: u32 = 1_000_000;
const CALLER_SLEEP: u32 = 1_000;
/// The last resort where the host does not watch the workers: after so much waiting for its last task one counts as dead, as
/// one is whose host ended it. Some ten seconds either way, where a task takes milliseconds.
const DEAD_TURNS: u32 = 4_000_000_000;
const DEAD_SLEEPS: u32 = 10_000;

/// Tells workers for as long as it lives that a run is going on.
pub struct Running;

impl Running {
    pub fn new() -> Running {
        RUNNING.store(1, Relaxed);
        Running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.store(0, Relaxed);
    }
}

/// True when there is a worker. A failed one counts, so that `share` reports it.
pub fn any() -> bool {
    READY.load(Relaxed) != 0
}

/// Computes a step together with the workers.
pub fn share(step: &StepRecord) -> Result<(), Status> {
    // A trap on this thread may have left the last job open.
    close_and_wait()?;
    KERNEL.store(step.kernel, Relaxed);
    ARGS.store(step.args, Relaxed);
    TASKS.store(step.tasks, Relaxed);
    ARENA.store(arena_base(), Relaxed);
    NEXT.store(0, Relaxed);
    GATE.store(OPEN, SeqCst);
    announce(step.tasks - 1);
    take_tasks();
    close_and_wait()?;
    if stopped() { Err(Status::Cancelled) } else { Ok(()) }
}

/// Makes workers look for something new: `count` of those that sleep.
fn announce(count: u32) {
    EPOCH.fetch_add(1, SeqCst);
    // A worker counts itself before it looks at the epoch for the last time: either this sees it, or it sees the epoch.
    if SLEEPERS.load(SeqCst) != 0 {
        notify(EPOCH.as_ptr(), count);
    }
}

/// Tasks of the job, one after the other, until there are none, one has failed or the host wants to stop.
fn take_tasks() {
    let (kernel, args, tasks) = (KERNEL.load(Relaxed), ARGS.load(Relaxed), TASKS.load(Relaxed));
    loop {
        let task = NEXT.fetch_add(1, Relaxed);
        if task >= tasks || stopped() || status_code() != Status::Ok as u32 {
            return;
        }
        call_kernel(kernel, args, task);
    }
}

/// Lets no more workers into the job, and waits for those inside.
fn close_and_wait() -> Result<(), Status> {
    let (mut turns, mut sleeps) = (0u32, 0u32);
    let mut inside = GATE.fetch_and(!OPEN, SeqCst) & !OPEN;
    while inside != 0 {
        if FAILED.load(Relaxed) != 0 {
            break;
        }
        if (turns == DEAD_TURNS || sleeps == DEAD_SLEEPS) && WATCHED.load(Relaxed) == 0 {
            worker_failed();
        }
        turns = turns.saturating_add(1);
        if turns > SPIN_CALLER && BLOCKING.load(Relaxed) != 0 {
            sleeps = sleeps.saturating_add(1);
            CALLER_SLEEPS.store(1, SeqCst);
            wait(GATE.as_ptr(), inside, CALLER_SLEEP);
            CALLER_SLEEPS.store(0, Relaxed);
        }
        inside = GATE.load(SeqCst);
    }
    if FAILED.load(Relaxed) != 0 { Err(Status::WorkerFailed) } else { Ok(()) }
}

/// Enters the job if it is open.
fn enter() -> bool {
    GATE.fetch_update(SeqCst, Relaxed, |gate| (gate & OPEN != 0).then(|| gate + 1)).is_ok()
}

fn leave() {
    let last = GATE.fetch_sub(1, SeqCst) == 1;
    if last && CALLER_SLEEPS.load(SeqCst) != 0 {
        notify(GATE.as_ptr(), 1);
    }
}

/// See [`abi::THREAD_EXPORTS`].
#[unsafe(no_mangle)]
pub extern "C" fn worker(_index: u32) {
    READY.fetch_add(1, SeqCst);
    let mut done = EPOCH.load(SeqCst).wrapping_sub(1);
    let mut turns = 0;
    while STOP_WORKERS.load(SeqCst) == 0 {
        let epoch = EPOCH.load(SeqCst);
        if epoch != done {
            done = epoch;
            turns = 0;
            if enter() {
                set_arena_base(ARENA.load(Relaxed));
                take_tasks();
                leave();
            }
            continue;
        }
        turns += 1;
        if turns > SPIN_RUNNING || (turns > SPIN_IDLE && RUNNING.load(Relaxed) == 0) {
            SLEEPERS.fetch_add(1, SeqCst);
            wait(EPOCH.as_ptr(), epoch, WORKER_SLEEP);
            SLEEPERS.fetch_sub(1, SeqCst);
        }
    }
    READY.fetch_sub(1, SeqCst);
}

/// See [`abi::THREAD_EXPORTS`].
#[unsafe(no_mangle)]
pub extern "C" fn start_threads(workers: u32) -> u32 {
    free(STACKS.swap(0, Relaxed));
    STACK_COUNT.store(0, Relaxed);
    let block = workers.checked_mul(THREAD_STACK_BYTES).map_or(0, |bytes| alloc(bytes));
    if block == 0 {
        return Status::OutOfMemory as u32;
    }
    STACKS.store(block, Relaxed);
    STACK_COUNT.store(workers, Relaxed);
    STOP_WORKERS.store(0, SeqCst);
    Status::Ok as u32
}

/// See [`abi::THREAD_EXPORTS`]. Stacks grow downwards.
#[unsafe(no_mangle)]
pub extern "C" fn thread_stack(index: u32) -> u32 {
    if index == 0 || index > STACK_COUNT.load(Relaxed) { 0 } else { STACKS.load(Relaxed) + index * THREAD_STACK_BYTES }
}

/// See [`abi::THREAD_EXPORTS`].
#[unsafe(no_mangle)]
pub extern "C" fn set_stack(address: u32) {
    set_stack_pointer(address);
}

/// See [`abi::THREAD_EXPORTS`].
#[unsafe(no_mangle)]
pub extern "C" fn threads_ready() -> u32 {
    READY.load(SeqCst)
}

/// See [`abi::THREAD_EXPORTS`].
#[unsafe(no_mangle)]
pub extern "C" fn stop_threads() {
    STOP_WORKERS.store(1, SeqCst);
    announce(u32::MAX);
}

/// See [`abi::THREAD_EXPORTS`].
#[unsafe(no_mangle)]
pub extern "C" fn set_blocking(flag: u32) {
    BLOCKING.store(flag, Relaxed);
}

/// See [`abi::THREAD_EXPORTS`].
#[unsafe(no_mangle)]
pub extern "C" fn worker_failed() {
    FAILED.store(1, SeqCst);
}

/// See [`abi::THREAD_EXPORTS`].
#[unsafe(no_mangle)]
pub extern "C" fn watch() -> *const u32 {
    WATCHED.store(1, Relaxed);
    FAILED.as_ptr()
}
