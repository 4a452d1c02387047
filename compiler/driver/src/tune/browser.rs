//! Times modules in the machine's Chromium, headless: a page on a local server asks for one module after the other, runs each
//! in a worker, and sends the times back. Nothing is installed and nothing but the browser is needed.

use crate::Error;
use serde::Deserialize;
use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tiny_http::{Header, Method, Request, Response, Server};

const PLACES: &[&str] = &[
    "/usr/bin/chromium",
    "/usr/bin/chromium-browser",
    "/usr/bin/google-chrome",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];
const FLAGS: &[&str] = &[
    "--headless",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    // The optimising compiler alone: no step is timed before its kernel is ready.
    "--js-flags=--no-liftoff",
];
/// How long the browser may take to ask for the first module, and to run one.
const START: Duration = Duration::from_secs(30);
const RUN: Duration = Duration::from_secs(300);

const JS: &str = "text/javascript";
/// Path, type, contents.
const PAGE: &[(&str, &str, &str)] = &[
    ("/", "text/html", "<!doctype html><title>wasm-torch</title><script type=module src=/page.js></script>"),
    ("/page.js", JS, include_str!("page.mjs")),
    ("/worker.js", JS, concat!(include_str!("measure.mjs"), include_str!("worker.mjs"))),
];
/// An isolated page has the finer clock.
const HEADERS: &[(&str, &str)] =
    &[("Cross-Origin-Opener-Policy", "same-origin"), ("Cross-Origin-Embedder-Policy", "require-corp"), ("Cache-Control", "no-store")];

/// A running browser that waits for modules; dropping it ends it.
pub struct Browser {
    server: Server,
    process: Child,
    /// What the page asked for last, and did not get yet.
    waiting: RefCell<Option<Request>>,
    /// Holds the browser's profile.
    _folder: TempDir,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Times(Vec<f64>),
    Error(String),
}

/// The environment's CHROMIUM, or the first of the usual places where there is one.
pub fn find() -> Option<PathBuf> {
    match std::env::var_os("CHROMIUM") {
        Some(path) => Some(path.into()).filter(|path: &PathBuf| path.exists()),
        None => PLACES.iter().map(PathBuf::from).find(|path| path.exists()),
    }
}

impl Browser {
    /// Starts a browser; `None` when it does not ask for a module.
    pub fn start(program: &Path) -> Option<Browser> {
        // Some systems and users may not have the sandbox; the page is ours.
        [&[][..], &["--no-sandbox"]].into_iter().find_map(|more| Browser::start_with(program, more))
    }

    fn start_with(program: &Path, more: &[&str]) -> Option<Browser> {
        let server = Server::http(("127.0.0.1", 0)).ok()?;
        let folder = tempfile::tempdir().ok()?;
        let mut command = Command::new(program);
        command.args(FLAGS).args(more).arg(format!("--user-data-dir={}", folder.path().display()));
        command.arg(format!("http://localhost:{}/", server.server_addr().to_ip()?.port()));
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
        let mut browser = Browser { server, process, waiting: RefCell::new(None), _folder: folder };
        let tries = START.as_millis() / 100;
        for _ in 0..tries {
            match browser.request("/next", Duration::from_millis(100)) {
                Ok(Some(request)) => {
                    browser.waiting.replace(Some(request));
                    return Some(browser);
                }
                Ok(None) if matches!(browser.process.try_wait(), Ok(None)) => {}
                _ => return None,
            }
        }
        None
    }

    /// Milliseconds of every step of a plain module.
    pub fn times(&self, wasm: &[u8], steps: usize, rounds: usize) -> Result<Vec<f64>, Error> {
        let silent = || Error::Usage("Chromium stopped answering while it timed a module".into());
        let waiting = self.waiting.take();
        let request = match waiting {
            Some(request) => request,
            None => self.request("/next", RUN).map_err(Error::Output)?.ok_or_else(silent)?,
        };
        let sizes = [header("steps", &steps.to_string()), header("rounds", &rounds.to_string())];
        respond(request, "application/wasm", wasm.to_vec(), &sizes).map_err(Error::Output)?;
        let mut request = self.request("/times", RUN).map_err(Error::Output)?.ok_or_else(silent)?;
        let answer: Answer = serde_json::from_reader(request.as_reader())?;
        respond(request, "text/plain", vec![], &[]).map_err(Error::Output)?;
        match answer {
            Answer::Times(times) if times.len() == steps => Ok(times),
            Answer::Times(_) => Err(silent()),
            Answer::Error(what) => Err(Error::Usage(format!("timing in Chromium failed: {what}"))),
        }
    }

    /// Serves the page until it asks for `path`.
    fn request(&self, path: &str, patience: Duration) -> io::Result<Option<Request>> {
        while let Some(request) = self.server.recv_timeout(patience)? {
            if request.url() == path {
                return Ok(Some(request));
            }
            match PAGE.iter().find(|(url, ..)| *url == request.url() && *request.method() == Method::Get) {
                Some((_, kind, text)) => respond(request, kind, text.as_bytes().to_vec(), &[])?,
                None => request.respond(Response::empty(404))?,
            }
        }
        Ok(None)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn header(name: &str, value: &str) -> Header {
    Header::from_bytes(name.as_bytes(), value.as_bytes()).expect("ASCII")
}

fn respond(request: Request, kind: &str, bytes: Vec<u8>, more: &[Header]) -> io::Result<()> {
    let mut headers: Vec<Header> = HEADERS.iter().map(|(name, value)| header(name, value)).collect();
    headers.push(header("Content-Type", kind));
    headers.extend_from_slice(more);
    let length = bytes.len();
    request.respond(Response::new(200.into(), headers, io::Cursor::new(bytes), Some(length), None))
}
