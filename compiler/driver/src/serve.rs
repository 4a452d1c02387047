//! A local web server for one or two modules: the page, the loader, the modules and what lies beside them. It serves no
//! other file, and only to this machine. The page is in `web/serve`; how it looks is its own business.

use crate::Error;
use crate::beside::with_suffix;
use crate::error::read_file;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use tiny_http::{Header, Method, Request, Response, Server};

/// The page and the loader: path, type, contents.
const PAGE: &[(&str, &str, &[u8])] = &[
    ("/", HTML, include_bytes!("../../../web/serve/index.html")),
    ("/app.js", JS, include_bytes!("../../../web/serve/app.js")),
    ("/style.css", "text/css; charset=utf-8", include_bytes!("../../../web/serve/style.css")),
    ("/loader/index.js", JS, include_bytes!("../../../web/serve/loader/index.js")),
    ("/loader/thread.js", JS, include_bytes!("../../../web/serve/loader/thread.js")),
];
const HTML: &str = "text/html; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const WASM: &str = "application/wasm";
const JSON: &str = "application/json";
const BYTES: &str = "application/octet-stream";

/// Sent with everything: shared memory needs an isolated page, and a module that was exported again must be seen.
const HEADERS: &[(&str, &str)] = &[
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Embedder-Policy", "require-corp"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    (
        "Content-Security-Policy",
        "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Cache-Control", "no-cache"),
];

/// Encodings by which a file may be sent if a compressed copy lies beside it, the smallest first, and their suffixes.
const ENCODINGS: &[(&str, &str)] = &[("br", "br"), ("gzip", "gz")];

/// What is served under a path.
enum Resource {
    Page {
        kind: &'static str,
        bytes: &'static [u8],
    },
    Text {
        kind: &'static str,
        text: String,
    },
    /// Read anew for every request.
    File {
        kind: &'static str,
        path: PathBuf,
    },
}

/// A running server; dropping it stops it.
pub struct Serving {
    server: Arc<Server>,
    threads: Vec<JoinHandle<()>>,
    port: u16,
}

impl Serving {
    /// Where the page is.
    pub fn url(&self) -> String {
        format!("http://localhost:{}/", self.port)
    }

    /// Serves until the process ends.
    pub fn wait(mut self) {
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        for _ in &self.threads {
            self.server.unblock();
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Starts to serve modules on a port of this machine; port 0 takes any that is free.
///
/// # Errors
/// When a file is not a module of this project, or the port cannot be had.
pub fn serve(modules: &[PathBuf], port: u16) -> Result<Serving, Error> {
    let resources = Arc::new(resources(modules)?);
    let failed = |error: String| Error::Usage(format!("cannot serve on port {port}: {error}\nhint: choose another one with --port"));
    let server = Arc::new(Server::http(("127.0.0.1", port)).map_err(|error| failed(error.to_string()))?);
    let port = server.server_addr().to_ip().map_or(port, |address| address.port());
    // Several, so that a large module on its way to one page does not hold up another.
    let threads = (0..4).map(|_| {
        let (server, resources) = (server.clone(), resources.clone());
        std::thread::spawn(move || {
            while let Ok(request) = server.recv() {
                // A page that went away is no failure.
                let _ = answer(request, &resources);
            }
        })
    });
    Ok(Serving { threads: threads.collect(), server, port })
}

fn resources(modules: &[PathBuf]) -> Result<BTreeMap<String, Resource>, Error> {
    let mut resources: BTreeMap<String, Resource> =
        PAGE.iter().map(|(path, kind, bytes)| ((*path).to_string(), Resource::Page { kind, bytes })).collect();
    let mut listed = vec![];
    for (i, path) in modules.iter().enumerate() {
        let manifest = link::read_manifest(&read_file(path)?).map_err(|source| Error::Module { path: path.clone(), source })?;
        let url = if i == 0 { "/module.wasm".to_string() } else { format!("/module{}.wasm", i + 1) };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        listed.push(serde_json::json!({ "url": url, "name": name, "model": manifest.model }));
        resources.insert(url, Resource::File { kind: WASM, path: path.clone() });
        for chunk in manifest.external_weights.iter().flat_map(|external| &external.chunks) {
            // A name that is not a plain file name could lead anywhere.
            if Path::new(&chunk.file).file_name().is_some_and(|name| name == chunk.file.as_str()) {
                let file = Resource::File { kind: BYTES, path: path.with_file_name(&chunk.file) };
                resources.insert(format!("/{}", chunk.file), file);
            }
        }
    }
    let text = serde_json::json!({ "modules": listed }).to_string();
    resources.insert("/info.json".into(), Resource::Text { kind: JSON, text });
    Ok(resources)
}

fn header(name: &str, value: &str) -> Header {
    Header::from_bytes(name.as_bytes(), value.as_bytes()).expect("ASCII")
}

fn answer(request: Request, resources: &BTreeMap<String, Resource>) -> io::Result<()> {
    if !matches!(request.method(), Method::Get | Method::Head) {
        return respond(request, 405, "text/plain", b"only GET and HEAD".to_vec(), None);
    }
    let path = request.url().split(['?', '#']).next().unwrap_or_default().to_string();
    let path = if path == "/index.html" { "/" } else { &path };
    match resources.get(path) {
        Some(Resource::Page { kind, bytes }) => respond(request, 200, kind, bytes.to_vec(), None),
        Some(Resource::Text { kind, text }) => respond(request, 200, kind, text.clone().into_bytes(), None),
        Some(Resource::File { kind, path }) => {
            let accepted = accepted(&request);
            let fresh = |copy: &Path| {
                let time = |path: &Path| std::fs::metadata(path).and_then(|m| m.modified()).ok();
                time(copy) >= time(path).and_then(|t| t.checked_sub(std::time::Duration::from_secs(60)))
            };
            for (encoding, suffix) in ENCODINGS.iter().filter(|(encoding, _)| accepted.iter().any(|a| a == encoding)) {
                let copy = with_suffix(path, suffix);
                if copy.is_file()
                    && fresh(&copy)
                    && let Ok(bytes) = std::fs::read(copy)
                {
                    return respond(request, 200, kind, bytes, Some(encoding));
                }
            }
            match std::fs::read(path) {
                Ok(bytes) => respond(request, 200, kind, bytes, None),
                Err(error) => respond(request, 404, "text/plain", error.to_string().into_bytes(), None),
            }
        }
        None => respond(request, 404, "text/plain", b"not here".to_vec(), None),
    }
}

/// The encodings that the other side understands.
fn accepted(request: &Request) -> Vec<String> {
    let values = request.headers().iter().filter(|header| header.field.equiv("Accept-Encoding"));
    let names = values.flat_map(|header| header.value.as_str().split(',').map(str::to_string).collect::<Vec<_>>());
    let refused = |item: &str| item.replace(' ', "").ends_with(";q=0");
    names.filter(|item| !refused(item)).map(|item| item.split(';').next().unwrap_or_default().trim().to_string()).collect()
}

fn respond(request: Request, status: u16, kind: &str, bytes: Vec<u8>, encoding: Option<&str>) -> io::Result<()> {
    let length = bytes.len();
    let mut headers: Vec<Header> = HEADERS.iter().map(|(name, value)| header(name, value)).collect();
    headers.push(header("Content-Type", kind));
    headers.push(header("Vary", "Accept-Encoding"));
    headers.extend(encoding.map(|encoding| header("Content-Encoding", encoding)));
    // A length, never chunks: the loader shows progress in bytes.
    let response = Response::new(status.into(), headers, io::Cursor::new(bytes), Some(length), None).with_chunked_threshold(usize::MAX);
    request.respond(response)
}
