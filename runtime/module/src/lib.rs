//! What every module carries: the entry points of the ABI over memory pools and the step loop. It holds no kernel.
//!
//! One memory and, with the feature `threads`, one instance of the module per thread. Free of `fmt` and of panics, so
//! that a few hundred bytes of code are all there is.
#![no_std]

mod exports;
mod pools;
#[cfg(feature = "threads")]
mod threads;

use abi::{BRANCH_IF_SET, PoolStats, Status, StatusRecord, StepRecord};
use core::arch::wasm32::{memory_grow, memory_size};
use core::cell::UnsafeCell;
use core::ptr;
use core::sync::atomic::{AtomicU32, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use pools::{Memory, Pools};

#[link(wasm_import_module = "link")]
unsafe extern "C" {
    safe fn call_kernel(kernel: u32, args: u32, task: u32);
    safe fn steps() -> *const StepRecord;
    safe fn step_count() -> u32;
    safe fn heap_base() -> u32;
    safe fn arena_base() -> u32;
}

/// See [`abi::EXPORTS`].
#[unsafe(no_mangle)]
pub extern "C" fn init() -> Status {
    set_status(Status::Ok, 0, 0);
    with_pools(|pools, _| *pools = Pools::new(heap_base()));
    Status::Ok
}

/// See [`abi::EXPORTS`]. Kernels report a failure by writing the status record; the step number is filled in here.
#[unsafe(no_mangle)]
pub extern "C" fn run(first: u32, last: u32) -> u32 {
    set_status(Status::Ok, 0, 0);
    if first > last || last > step_count() {
        return set_status(Status::StepOutOfRange, if first > last { first } else { last }, step_count());
    }
    #[cfg(feature = "threads")]
    let _running = threads::Running::new();
    let mut number = first;
    while (first..last).contains(&number) {
        let step = step(number);
        #[cfg(feature = "threads")]
        let done = if step.parallel != 0 && threads::any() { threads::share(&step) } else { alone(&step, 0, step.tasks) };
        #[cfg(not(feature = "threads"))]
        let done = alone(&step, 0, step.tasks);
        if let Some(code) = failure(done, number) {
            return code;
        }
        number = following(&step, number);
    }
    set_status(Status::Ok, number, 0)
}

/// See [`abi::EXPORTS`].
#[unsafe(no_mangle)]
pub extern "C" fn run_tasks(number: u32, first: u32, last: u32) -> u32 {
    set_status(Status::Ok, 0, 0);
    if number >= step_count() {
        return set_status(Status::StepOutOfRange, number, step_count());
    }
    let step = step(number);
    let last = if last < step.tasks { last } else { step.tasks };
    let done = alone(&step, first, last);
    if let Some(code) = failure(done, number) {
        return code;
    }
    set_status(Status::Ok, if last < step.tasks { number } else { following(&step, number) }, 0)
}

/// The record of a step, whose number must be less than `step_count`.
fn step(number: u32) -> StepRecord {
    // SAFETY: `steps` is an array of `step_count` records that the linker wrote, and number < step_count.
    unsafe { ptr::read(steps().add(number as usize)) }
}

/// The status code of a step that did not do what it should, now also in the status record.
fn failure(done: Result<(), Status>, number: u32) -> Option<u32> {
    if let Err(status) = done {
        return Some(set_status(status, number, 0));
    }
    let code = status_code();
    if code == Status::Ok as u32 {
        return None;
    }
    // SAFETY: the cell belongs to this module, and no kernel runs now.
    unsafe { (*STATUS.0.get()).step = number };
    Some(code)
}

/// The step after this one.
fn following(step: &StepRecord, number: u32) -> u32 {
    if step.branch != 0 && branches(step) { step.target } else { number + 1 }
}

/// Whether a step that may branch does.
fn branches(step: &StepRecord) -> bool {
    // SAFETY: the first argument of such a step is the offset of a byte of the arena, which a kernel wrote.
    let flag = unsafe { ptr::read_volatile((arena_base() + ptr::read(step.args as *const u32)) as *const u8) };
    (flag != 0) == (step.branch == BRANCH_IF_SET)
}

/// Some tasks of a step on this thread.
fn alone(step: &StepRecord, first: u32, last: u32) -> Result<(), Status> {
    for task in first..last {
        if stopped() {
            return Err(Status::Cancelled);
        }
        call_kernel(step.kernel, step.args, task);
        if status_code() != Status::Ok as u32 {
            break;
        }
    }
    Ok(())
}

/// See [`abi::EXPORTS`].
#[unsafe(no_mangle)]
pub extern "C" fn status() -> *const StatusRecord {
    STATUS.0.get()
}

/// See [`abi::EXPORTS`].
#[unsafe(no_mangle)]
pub extern "C" fn stop_flag() -> *const u32 {
    STOP.as_ptr()
}

/// See [`abi::EXPORTS`].
#[unsafe(no_mangle)]
pub extern "C" fn alloc(bytes: u32) -> u32 {
    with_pools(|pools, memory| pools.alloc(memory, bytes))
}

/// See [`abi::EXPORTS`].
#[unsafe(no_mangle)]
pub extern "C" fn free(address: u32) {
    with_pools(|pools, memory| pools.free(memory, address));
}

/// See [`abi::EXPORTS`].
#[unsafe(no_mangle)]
pub extern "C" fn pool_reserve(bytes: u32, count: u32) -> u32 {
    with_pools(|pools, memory| pools.reserve(memory, bytes, count))
}

/// See [`abi::EXPORTS`].
#[unsafe(no_mangle)]
pub extern "C" fn pool_limit(bytes: u32) {
    with_pools(|pools, _| pools.stats.limit_bytes = bytes);
}

/// See [`abi::EXPORTS`].
#[unsafe(no_mangle)]
pub extern "C" fn pool_stats() -> *const PoolStats {
    with_pools(|pools, _| &raw const pools.stats)
}

/// A cell in static memory: of the thread that calls `run`, or guarded by a lock.
struct Cell<T>(UnsafeCell<T>);

// SAFETY: see the accesses: no two of them overlap, except that kernels which fail on several threads at once write
// whole words of the status record, of which any one is right.
unsafe impl<T> Sync for Cell<T> {}

static STATUS: Cell<StatusRecord> = Cell(UnsafeCell::new(StatusRecord { code: 0, step: 0, detail: 0 }));
static POOLS: Cell<Pools> = Cell(UnsafeCell::new(Pools::EMPTY));
/// 1 while a thread works on the pools.
static POOLS_LOCK: AtomicU32 = AtomicU32::new(0);
/// See [`stop_flag`].
static STOP: AtomicU32 = AtomicU32::new(0);

fn stopped() -> bool {
    STOP.load(Relaxed) != 0
}

fn set_status(status: Status, step: u32, detail: u32) -> u32 {
    let code = status as u32;
    // SAFETY: the cell belongs to this module, and no kernel runs while this call does.
    unsafe { ptr::write_volatile(STATUS.0.get(), StatusRecord { code, step, detail }) };
    code
}

/// Volatile, because kernels write the record behind the back of the Rust compiler.
fn status_code() -> u32 {
    // SAFETY: the cell is a valid record at all times; one word is read whole.
    unsafe { ptr::read_volatile(&raw const (*STATUS.0.get()).code) }
}

/// Runs `body` on the pools. Never nested: no body calls back into the module. The lock is held for a few loads and
/// stores, so that waiting for it is spinning.
fn with_pools<R>(body: impl FnOnce(&mut Pools, &mut Linear) -> R) -> R {
    while POOLS_LOCK.swap(1, Acquire) != 0 {}
    // SAFETY: the lock is held and calls are never nested: this is the only reference.
    let result = body(unsafe { &mut *POOLS.0.get() }, &mut Linear);
    POOLS_LOCK.store(0, Release);
    result
}

/// The module's memory, as the pools see it.
struct Linear;

const PAGE: u64 = 64 * 1024;

impl Memory for Linear {
    fn end(&self) -> u64 {
        memory_size(0) as u64 * PAGE
    }

    fn grow_to(&mut self, end: u64) -> bool {
        let missing = end.saturating_sub(self.end()).div_ceil(PAGE);
        memory_grow(0, missing as usize) != usize::MAX
    }

    fn load(&self, address: u32) -> u32 {
        // SAFETY: the pools pass word-aligned addresses between the heap's base and the end of the memory.
        unsafe { ptr::read(address as *const u32) }
    }

    fn store(&mut self, address: u32, word: u32) {
        // SAFETY: as in `load`; the region belongs to the pools alone.
        unsafe { ptr::write(address as *mut u32, word) }
    }
}

/// Never reached (a test counts: no data, a few hundred bytes of code); the language asks for it.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    core::arch::wasm32::unreachable()
}
