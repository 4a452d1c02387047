//! The routines as functions of addresses: of a descriptor, then of tensors. The linker keeps those that kernels call.

macro_rules! exports {
    ($($(#[$doc:meta])* $name:ident $module:ident::$run:ident, $($scratch:ident)::+;)*) => {
        $(#[unsafe(export_name = concat!("routine_", stringify!($name)))]
        #[allow(clippy::too_many_arguments)]
        pub extern "C" fn $name(d: u32, a: u32, b: u32, c: u32, e: u32, f: u32, g: u32, h: u32, i: u32, j: u32, k: u32, l: u32) {
            let addresses = [a, b, c, e, f, g, h, i, j, k, l];
            // SAFETY: the compiler wrote the descriptor, and the memory's plan was checked.
            let done = unsafe { routines::frame::run(routines::run::$name, 0, d, &addresses) };
            if let Err(failure) = done {
                crate::set_status(failure.status, 0, failure.detail);
            }
        })*
    };
}
routines::for_each_routine!(exports);
