//! The `wasm-torch` program. Everything is in the library, so that tests and other doors share it.

use std::process::ExitCode;

fn main() -> ExitCode {
    wasm_torch::cli::main()
}
