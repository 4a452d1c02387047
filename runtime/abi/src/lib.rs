//! The binary interface between a module, its runtime and its host: names, signatures, records and status codes.
//!
//! Everything here is data. The runtime implements it, the linker completes it, hosts (wasmtime, JavaScript) call it.
//! Addresses are byte addresses in the module's one memory; all integers are little-endian `i32`/`u32`.
#![no_std]

#[cfg(feature = "manifest")]
extern crate alloc;
#[cfg(feature = "manifest")]
pub mod manifest;

/// Bumped whenever a host of one number could misread, or not run, a module of another.
pub const ABI_VERSION: u32 = 4;

/// Name of the custom section that holds the JSON [`manifest::Manifest`].
pub const MANIFEST_SECTION: &str = "wasm-torch.manifest";

/// One row of the interface: a function's name, its number of `i32` parameters, whether it returns an `i32`, its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Function {
    pub name: &'static str,
    pub params: u32,
    pub returns: bool,
    pub doc: &'static str,
}

const fn f(name: &'static str, params: u32, returns: bool, doc: &'static str) -> Function {
    Function { name, params, returns, doc }
}

/// What a module exports to its host, besides `memory` and the mutable `i32` global `arena_base`.
pub const EXPORTS: &[Function] = &[
    f("init", 0, true, "Prepares the runtime. Call once, before anything else. Returns a status code."),
    f(
        "run",
        2,
        true,
        "run(first, last): executes steps from `first` on until one outside of first..last (half-open) is due. Returns a status code; details in the status record.",
    ),
    f(
        "run_tasks",
        3,
        true,
        "run_tasks(step, first, last): executes tasks first..last (half-open) of one step on this thread alone, so that the host gets \
         its turn between them. Returns a status code; the step that is due, another one after the last task, is in the status record.",
    ),
    f("status", 0, true, "Address of the StatusRecord."),
    f("alloc", 1, true, "alloc(bytes): address of a 16-byte aligned block from the pools, or 0 when memory is exhausted."),
    f("free", 1, false, "free(address): gives a block from alloc back. 0 is ignored."),
    f("pool_reserve", 2, true, "pool_reserve(bytes, count): puts `count` blocks for `bytes` into the pools; how many fit is returned."),
    f(
        "pool_limit",
        1,
        false,
        "pool_limit(bytes): from now on the pools take no more than so much memory; 0 means no limit but the memory's.",
    ),
    f("pool_stats", 0, true, "Address of the PoolStats record, refreshed by this call."),
    f(
        "stop_flag",
        0,
        true,
        "Address of a word: while it is not 0, `run` returns Cancelled before its next task. The host sets and clears it.",
    ),
];

/// What a module with threads exports besides. One instance per thread, all of one memory; `init` is called by one only.
pub const THREAD_EXPORTS: &[Function] = &[
    f(
        "start_threads",
        1,
        true,
        "start_threads(workers): reserves their stacks and takes an earlier stop_threads back. Returns a status code.",
    ),
    f(
        "thread_stack",
        1,
        true,
        "thread_stack(index): first value of the stack pointer of worker `index` (1, 2, …), or 0 if none was reserved.",
    ),
    f("set_stack", 1, false, "set_stack(address): gives this instance a stack of its own. A worker's first call."),
    f("worker", 1, false, "worker(index): computes tasks of other threads' steps until stop_threads."),
    f("threads_ready", 0, true, "Number of threads that are inside `worker`."),
    f("stop_threads", 0, false, "Asks all workers to return; threads_ready tells when they have."),
    f(
        "set_blocking",
        1,
        false,
        "set_blocking(flag): whether the thread that calls `run` may sleep. It may not on the main thread of a page.",
    ),
    f("worker_failed", 0, false, "Called when `worker` trapped: every later `run` returns WorkerFailed instead of waiting for it."),
    f(
        "watch",
        0,
        true,
        "Address of a word where the host stores 1 when a worker died: as worker_failed. Who calls this promises to do so; \
         else a worker that holds a task for some ten seconds counts as dead.",
    ),
];

/// Bytes of each worker's stack.
pub const THREAD_STACK_BYTES: u32 = 16 * 1024;

/// Import module and name of a variant's memory: [`MEMORY`].
pub const MEMORY_MODULE: &str = "env";

/// What the name of the custom section of a variant begins with; the variant's name follows.
pub const VARIANT_SECTION: &str = "wasm-torch.variant.";

/// Name of the custom section whose contents are an import section: in a file's own code it takes the place of the memory
/// section where a host brings the memory.
pub const IMPORT_SECTION: &str = "wasm-torch.import";

/// Name of the exported mutable global with the address of the arena; kernels add it to their arena offsets.
pub const ARENA_BASE: &str = "arena_base";

/// Import module name of [`LINK_IMPORTS`] in `runtime.wasm`.
pub const LINK_MODULE: &str = "link";

/// What the runtime imports and the linker fills with generated bodies. A finished module has no imports.
pub const LINK_IMPORTS: &[Function] = &[
    f("call_kernel", 3, false, "call_kernel(kernel, args, task): calls kernel number `kernel` of the table."),
    f("steps", 0, true, "Address of the array of StepRecords."),
    f("step_count", 0, true, "Number of StepRecords."),
    f("heap_base", 0, true, "First address that nothing else uses: pools grow from here."),
    f("wait", 3, false, "wait(address, expected, microseconds): sleeps while the word is `expected`, at most so long. Threads only."),
    f("notify", 2, false, "notify(address, count): wakes up to `count` threads that wait at the address. Threads only."),
    f("arena_base", 0, true, "This instance's `arena_base`."),
    f("set_arena_base", 1, false, "set_arena_base(address): sets this instance's `arena_base`. Threads only."),
    f("set_stack_pointer", 1, false, "set_stack_pointer(address): sets the runtime's `__stack_pointer`. Threads only."),
];

/// What the name of the export of a routine begins with in `runtime.wasm`; the routine's name follows. A routine takes
/// [`ROUTINE_PARAMS`] addresses and returns nothing: it reports a failure by writing the status record.
pub const ROUTINE_EXPORT: &str = "routine_";

/// The addresses that a routine takes: of its descriptor, of its tensors, of scratch memory; unused ones are 0.
pub const ROUTINE_PARAMS: usize = 12;

/// Name of the exported memory.
pub const MEMORY: &str = "memory";

/// Values of [`StepRecord::branch`] besides 0.
pub const BRANCH_UNLESS_SET: u32 = 1;
pub const BRANCH_IF_SET: u32 = 2;

/// Size in bytes of one argument of a kernel call.
pub const ARG_BYTES: u32 = 4;

macro_rules! records {
    ($($(#[$doc:meta])* $name:ident { $($(#[doc = $text:literal])* $field:ident),* $(,)? })*) => {$(
        $(#[$doc])*
        #[repr(C)]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct $name { $($(#[doc = $text])* pub $field: u32),* }
        impl $name {
            /// Size in bytes.
            pub const BYTES: u32 = size_of::<$name>() as u32;
            /// Every field in order: name, byte offset, meaning.
            pub const FIELDS: &'static [(&'static str, usize, &'static str)] =
                &[$((stringify!($field), core::mem::offset_of!($name, $field), concat!($($text),*))),*];
        }
    )*};
}

records! {
    /// One planned step in memory: `tasks` calls of one kernel with one argument record.
    StepRecord {
        /// Number of the kernel in the module's table.
        kernel,
        /// Address of the argument record: one `u32` per parameter.
        args,
        /// How many times the kernel is called, with task = 0, 1, …; in any order and on any thread.
        tasks,
        /// 1 if the step is worth sharing with other threads.
        parallel,
        /// Where to go on after the tasks: 0 at the next step, 1 at `target` if the flag is 0, 2 at `target` if it is not. The
        /// flag is the byte of the arena that the first argument says.
        branch,
        /// Number of a step.
        target,
    }

    /// Outcome of the last `run`.
    StatusRecord {
        /// A [`Status`] as a number.
        code,
        /// The step that failed; after Ok, the step to go on with: `last`, unless a branch led out of first..last.
        step,
        /// Meaning depends on the code: an index, a size, ….
        detail,
    }

    /// Statistics of the memory pools.
    PoolStats {
        /// Bytes handed out and not yet given back, rounded up to size classes.
        used_bytes,
        /// Largest value `used_bytes` had.
        peak_bytes,
        /// Bytes taken from the memory for pools so far.
        reserved_bytes,
        /// Allocations served from a free list.
        hits,
        /// Allocations that had to take fresh memory.
        misses,
        /// Allocations refused because memory was exhausted.
        refused,
        /// Most bytes that may be taken from the memory; 0 if there is no limit.
        limit_bytes,
    }
}

macro_rules! statuses {
    ($($name:ident = $code:literal $text:literal),* $(,)?) => {
        /// Why `run` or `init` stopped.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u32)]
        pub enum Status { $(#[doc = $text] $name = $code),* }
        impl Status {
            /// Every status, in numeric order.
            pub const ALL: &'static [Status] = &[$(Status::$name),*];
            /// The status with this number, if there is one.
            pub const fn from_code(code: u32) -> Option<Status> {
                match code { $($code => Some(Status::$name),)* _ => None }
            }
            /// Name as TypeScript and JSON spell it.
            pub const fn name(self) -> &'static str { match self { $(Status::$name => stringify!($name)),* } }
            /// One plain sentence for people.
            pub const fn text(self) -> &'static str { match self { $(Status::$name => $text),* } }
        }
    };
}

statuses! {
    Ok = 0 "The call succeeded.",
    StepOutOfRange = 1 "The host asked for a step that the module does not have.",
    OutOfMemory = 2 "The memory could not be grown.",
    IndexOutOfRange = 3 "An index tensor holds a value outside the indexed dimension.",
    SizeOutOfBounds = 4 "A size that depends on data or on a dimension exceeds the bound the module was planned for.",
    InvalidInput = 5 "An input tensor holds values the operator does not allow.",
    Cancelled = 6 "The host asked to stop.",
    WorkerFailed = 7 "A worker thread failed.",
}
