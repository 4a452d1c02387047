//! The binary interface between a module, its runtime and its host: names, signatures, records and status codes.
//!
//! Everything here is data. The runtime implements it, the linker completes it, hosts (wasmtime, JavaScript) call it.
//! Addresses are byte addresses in the module's one memory; all integers are little-endian `i32`/`u32`.
#![no_std]

#[cfg(feature = "manifest")]
extern crate alloc;
#[cfg(feature = "manifest")]
pub mod manifest;

/// Bumped whenever a host of the previous number could misread a module.
pub const ABI_VERSION: u32 = 1;

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
    f("run", 2, true, "run(first, last): executes steps first..last (half-open). Returns a status code; details in the status record."),
    f("status", 0, true, "Address of the StatusRecord."),
    f("alloc", 1, true, "alloc(bytes): address of a 16-byte aligned block from the pools, or 0 when memory is exhausted."),
    f("free", 1, false, "free(address): gives a block from alloc back. 0 is ignored."),
    f("pool_stats", 0, true, "Address of the PoolStats record, refreshed by this call."),
];

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
];

/// Name of the exported memory.
pub const MEMORY: &str = "memory";

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
        /// How many times the kernel is called, with task = 0, 1, ….
        tasks,
    }

    /// Outcome of the last `run`.
    StatusRecord {
        /// A [`Status`] as a number.
        code,
        /// The step that failed.
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
}
