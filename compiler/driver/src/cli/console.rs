//! Where text goes and how it looks: data to stdout, messages and progress to stderr, colours only where they are read by
//! people. It formats no data.

use super::panic;
use crate::Error;
use crate::export::Stage;
use indicatif::{ProgressBar, ProgressStyle};
use std::ffi::OsString;
use std::io::{BufWriter, IsTerminal, Stdout, Write};
use std::time::Duration;

/// `--color`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Color {
    Auto,
    Always,
    Never,
}

impl From<Color> for clap::ColorChoice {
    fn from(color: Color) -> clap::ColorChoice {
        match color {
            Color::Auto => clap::ColorChoice::Auto,
            Color::Always => clap::ColorChoice::Always,
            Color::Never => clap::ColorChoice::Never,
        }
    }
}

/// The last `--color` among raw arguments.
pub fn color_from(args: impl IntoIterator<Item = OsString>) -> Color {
    let args: Vec<String> = args.into_iter().map(|a| a.to_string_lossy().into_owned()).collect();
    let values = args.iter().enumerate().filter_map(|(i, arg)| match arg.strip_prefix("--color")? {
        "" => args.get(i + 1).map(String::as_str),
        value => value.strip_prefix('='),
    });
    match values.reduce(|_, last| last) {
        Some("always") => Color::Always,
        Some("never") => Color::Never,
        _ => Color::Auto,
    }
}

/// Ways to set words apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Plain,
    Bold,
    Dim,
    Error,
    Warning,
    Good,
    Hint,
}

impl Style {
    fn code(self) -> &'static str {
        match self {
            Style::Plain => "",
            Style::Bold => "\x1b[1m",
            Style::Dim => "\x1b[2m",
            Style::Error => "\x1b[1;31m",
            Style::Warning => "\x1b[1;33m",
            Style::Good => "\x1b[32m",
            Style::Hint => "\x1b[36m",
        }
    }
}

/// Paints text, or leaves it alone.
#[derive(Debug, Clone, Copy)]
pub struct Paint(bool);

impl Paint {
    pub fn paint(self, style: Style, text: &str) -> String {
        if self.0 && style != Style::Plain && !text.is_empty() { format!("{}{text}\x1b[0m", style.code()) } else { text.into() }
    }
}

pub struct Console {
    out: BufWriter<Stdout>,
    /// For stdout and for stderr.
    pub paint: Paint,
    paint_err: Paint,
    quiet: bool,
    progress: bool,
}

impl Console {
    pub fn new(color: Color, quiet: bool) -> Console {
        let allowed = std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        let paint = |terminal: bool| match color {
            Color::Auto => Paint(terminal && allowed),
            Color::Always => Paint(true),
            Color::Never => Paint(false),
        };
        let terminal = std::io::stderr().is_terminal();
        Console {
            out: BufWriter::new(std::io::stdout()),
            paint: paint(std::io::stdout().is_terminal()),
            paint_err: paint(terminal),
            quiet,
            progress: terminal && !quiet,
        }
    }

    /// Data.
    pub fn print(&mut self, text: &str) -> Result<(), Error> {
        self.out.write_all(text.as_bytes())?;
        Ok(())
    }

    /// Data as JSON.
    pub fn json(&mut self, value: &impl serde::Serialize) -> Result<(), Error> {
        serde_json::to_writer_pretty(&mut self.out, value)?;
        self.print("\n")
    }

    pub fn flush(&mut self) -> Result<(), Error> {
        self.out.flush()?;
        Ok(())
    }

    /// A message for people, unless they want quiet.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }

    /// Paint for [`Console::note`].
    pub fn note_paint(&self) -> Paint {
        self.paint_err
    }

    pub fn warning(&self, text: &str) {
        self.note(&format!("{} {text}", self.paint_err.paint(Style::Warning, "warning:")));
    }

    /// `error:` and a sentence; lines that begin with `hint:` stand out.
    pub fn error(&self, text: &str) {
        let mut message = self.paint_err.paint(Style::Error, "error:");
        for (i, line) in text.lines().enumerate() {
            message.push_str(if i == 0 { " " } else { "\n" });
            match line.trim_start().strip_prefix("hint:") {
                Some(rest) => {
                    message.push_str(&line[..line.len() - line.trim_start().len()]);
                    message.push_str(&self.paint_err.paint(Style::Hint, "hint:"));
                    message.push_str(rest);
                }
                None => message.push_str(line),
            }
        }
        let _ = writeln!(std::io::stderr(), "{message}");
    }

    /// A spinner that shows what is being done; invisible where nobody looks. The panic message names the same.
    pub fn spinner(&self) -> Spinner {
        if !self.progress {
            return Spinner(ProgressBar::hidden());
        }
        let bar = ProgressBar::new_spinner();
        bar.enable_steady_tick(Duration::from_millis(100));
        Spinner(bar)
    }

    /// A bar of `length` parts, invisible where nobody looks.
    pub fn bar(&self, length: usize, what: &'static str) -> ProgressBar {
        panic::now(what.into());
        if !self.progress || length < 2 {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template("{msg} [{bar:30}] {pos}/{len} {eta}").unwrap_or_else(|_| ProgressStyle::default_bar());
        ProgressBar::new(length as u64).with_style(style).with_message(what)
    }
}

pub struct Spinner(ProgressBar);

impl Spinner {
    pub fn stage(&self, stage: Stage) {
        self.say(stage.to_string());
    }

    pub fn say(&self, what: impl Into<String>) {
        let what = what.into();
        self.0.set_message(what.clone());
        panic::now(what);
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
