//! `serve`: a local page that runs a module in the browser, or compares two.

use super::Outcome;
use super::console::Console;
use crate::Error;
use std::path::PathBuf;

/// Open a module, or two to compare, in a page of the browser.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wasm-torch serve model.wasm
  wasm-torch serve model.wasm other.wasm --port 9000")]
pub struct Args {
    /// The module, and another one to compare it with
    #[arg(value_name = "MODULE.wasm", num_args = 1..=2, required = true)]
    modules: Vec<PathBuf>,
    /// The port on this machine; 0 takes any that is free
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    port: u16,
}

pub fn run(args: &Args, console: &mut Console) -> Result<Outcome, Error> {
    let serving = crate::serve::serve(&args.modules, args.port)?;
    // For people and for scripts that start it: the address, at once.
    console.print(&format!("{}\n", serving.url()))?;
    console.flush()?;
    console.note("open this address in a browser; Ctrl+C ends it");
    serving.wait();
    Ok(Outcome::Yes)
}
