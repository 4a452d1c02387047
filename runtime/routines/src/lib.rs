//! Irregular operators in plain Rust: the ones that are neither loop nests nor views. Nothing here that a schedule could speed up.
//!
//! Empty as yet: no operator that exists needs it. What belongs here are sorts (TopK, Unique), data-dependent selection
//! (NonZero, NonMaxSuppression), RoiAlign and random generators, as functions over slices, without allocation. The evaluator
//! compiles them natively; the module links the wasm build of the ones it uses. They stay free of `fmt` and of panics,
//! since the linker's garbage collector keeps every byte of read-only data.
#![no_std]
