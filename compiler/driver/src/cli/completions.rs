//! `completions`: the shells' own files, from the definition of the command line.

use super::{Outcome, console::Console, definition};
use crate::Error;

/// Print completions for a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wasm-torch completions bash > ~/.local/share/bash-completion/completions/wasm-torch
  wasm-torch completions zsh  > ~/.zfunc/_wasm-torch
  wasm-torch completions fish > ~/.config/fish/completions/wasm-torch.fish")]
pub struct Args {
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

pub fn run(args: &Args, console: &mut Console) -> Result<Outcome, Error> {
    let mut script = vec![];
    clap_complete::generate(args.shell, &mut definition(), "wasm-torch", &mut script);
    console.print(&String::from_utf8_lossy(&script))?;
    Ok(Outcome::Yes)
}
