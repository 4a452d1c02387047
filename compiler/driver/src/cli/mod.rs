//! The command line: arguments, exit codes, errors as sentences. Data goes to stdout, everything else to stderr.
//!
//! Exit codes: 0 done; 1 done, and the answer is no (`verify` found a difference); 2 wrong usage or bad input.

mod bench;
mod completions;
mod console;
mod dump;
mod export;
mod inputs;
mod inspect;
mod panic;
mod run;
mod serve;
mod table;
mod verify;

use crate::Error;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use console::{Color, Console};
use std::ffi::OsString;
use std::process::ExitCode;

/// Compiles ONNX exports of PyTorch models to one self-contained SIMD WebAssembly module.
#[derive(Debug, Parser)]
#[command(name = "wasm-torch", version, max_term_width = 120, subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = "\
Examples:
  wasm-torch export model.onnx                          write model.wasm
  wasm-torch run model.wasm --input image.npy           run it, show the outputs
  wasm-torch verify model.onnx model.wasm --random 3    compare it with the model's definition
  wasm-torch inspect model.onnx                         operators, sizes, what is not supported")]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    global: Global,
}

#[derive(Debug, Clone, Copy, clap::Args)]
struct Global {
    /// Colours for people: auto (on terminals, unless NO_COLOR is set), always or never
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN", hide_possible_values = true)]
    color: Color,
    /// Print results and errors only: no summaries, no progress
    #[arg(short, long, global = true)]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Export(export::Args),
    Run(run::Args),
    Inspect(inspect::Args),
    Verify(verify::Args),
    Bench(bench::Args),
    Dump(dump::Args),
    Serve(serve::Args),
    Completions(completions::Args),
}

/// What a command that could be carried out says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Yes,
    /// The check that was asked for failed.
    No,
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    ExitCode::from(run_with(std::env::args_os()))
}

/// Runs the command that the arguments name; the first one is the program. Gives the exit code.
pub fn run_with(args: impl IntoIterator<Item = OsString>) -> u8 {
    panic::install();
    let args: Vec<OsString> = args.into_iter().collect();
    // The parser's own messages need the colour before there are arguments.
    let asked = console::color_from(args.iter().cloned());
    let command = Cli::command().color(asked.into());
    let cli = match command.try_get_matches_from(args).and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => {
            // Also how --help and --version end. A reader that went away is no failure.
            let _ = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(2);
        }
    };
    let mut console = Console::new(cli.global.color, cli.global.quiet);
    match execute(&cli.command, &mut console).and_then(|outcome| console.flush().map(|()| outcome)) {
        Ok(Outcome::Yes) => 0,
        Ok(Outcome::No) => 1,
        Err(error) if error.is_broken_pipe() => 0,
        Err(error) => {
            let _ = console.flush();
            console.error(&error.to_string());
            2
        }
    }
}

fn execute(command: &Command, console: &mut Console) -> Result<Outcome, Error> {
    match command {
        Command::Export(args) => export::run(args, console),
        Command::Run(args) => run::run(args, console),
        Command::Inspect(args) => inspect::run(args, console),
        Command::Verify(args) => verify::run(args, console),
        Command::Bench(args) => bench::run(args, console),
        Command::Dump(args) => dump::run(args, console),
        Command::Serve(args) => serve::run(args, console),
        Command::Completions(args) => completions::run(args, console),
    }
}

/// The definition of the command line, for completions and documentation.
pub fn definition() -> clap::Command {
    Cli::command()
}
