//! Exports of a real model in all variants, and what lies beside a module: weights in chunks, compressed copies, types.
//! And the server that gives all of it to a page.

mod common;

use common::{Room, model};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use wasm_torch::compare::{Tolerance, compare};
use wasm_torch::engine::EngineError;
use wasm_torch::{Instance, LoadOptions, NamedTensor, npz, serve, verify};

const KINDS: [&str; 4] = ["baseline", "relaxed", "threads", "relaxed+threads"];

fn load(file: &[u8], variant: &str, threads: u32) -> Instance {
    let options = LoadOptions { threads: Some(threads), variant: Some(variant.into()), folder: None, ..LoadOptions::default() };
    Instance::load_with(file, &options).unwrap_or_else(|error| panic!("{variant}: {error}"))
}

fn digits(room: &Room, options: &[&str]) -> Vec<u8> {
    let model = model("digits/digits.dynamo.onnx");
    room.ok(&[&["export", "-q", &model, "-o", "digits.wasm"], options].concat());
    std::fs::read(room.path("digits.wasm")).unwrap()
}

/// Equal but for the rounding of fused multiply-adds.
fn close(expected: &[NamedTensor], found: &[NamedTensor]) -> bool {
    let tolerance = Tolerance { rtol: 1e-5, atol: 1e-5 };
    expected.len() == found.len() && expected.iter().zip(found).all(|(e, f)| compare(&e.name, &e.tensor, &f.tensor, tolerance).ok)
}

#[test]
fn variants_compute_the_same() {
    let room = Room::new();
    let file = digits(&room, &[]);
    let mut baseline = Instance::load(&file).unwrap();
    let inputs = verify::random_inputs(baseline.manifest(), 3);
    let expected = baseline.forward(&inputs).unwrap();
    for kind in KINDS {
        for threads in 1..=if kind.contains("threads") { 4 } else { 1 } {
            let outputs = load(&file, kind, threads).forward(&inputs).unwrap();
            if kind.contains("relaxed") {
                assert!(close(&expected, &outputs), "{kind} with {threads} threads");
            } else {
                assert_eq!(outputs, expected, "{kind} with {threads} threads");
            }
        }
    }
}

/// Each kind alone is a module of its own, and the plain one has nothing of the others.
#[test]
fn lists_of_variants() {
    let room = Room::new();
    let expected = {
        let mut instance = Instance::load(&digits(&room, &["--variants", "baseline"])).unwrap();
        let inputs = verify::random_inputs(instance.manifest(), 3);
        assert!(instance.manifest().variants.is_empty());
        instance.forward(&inputs).unwrap()
    };
    for kind in KINDS {
        let file = digits(&room, &["--variants", kind]);
        let mut instance = Instance::load(&file).unwrap();
        assert_eq!((instance.variant(), instance.manifest().variants.len()), (kind, 0));
        let inputs = verify::random_inputs(instance.manifest(), 3);
        assert!(close(&expected, &instance.forward(&inputs).unwrap()), "{kind}");
    }
    let two = Instance::load(&digits(&room, &["--variants", "baseline,threads"])).unwrap();
    assert_eq!(two.manifest().variants.iter().map(|v| v.name.as_str()).collect::<Vec<_>>(), ["threads"]);
    assert_eq!(digits(&room, &["--variants", "all"]), digits(&room, &[]), "all is the default, and the bytes are the same every time");
    let answer = room.run(&["export", &model("digits/digits.dynamo.onnx"), "-o", "x.wasm", "--variants", "fast"]);
    assert_eq!(answer.code, 2);
    assert!(answer.stderr.contains("there is no variant `fast`"), "{}", answer.stderr);
}

#[test]
fn the_command_line_runs_variants() {
    let room = Room::new();
    let file = digits(&room, &[]);
    let inputs = verify::random_inputs(Instance::load(&file).unwrap().manifest(), 3);
    room.write("x.npy", &npz::npy_bytes(&inputs[0].tensor).unwrap());
    for (options, variant) in [
        (&["--threads", "2"][..], "relaxed+threads"),
        (&["--threads", "2", "--variant", "threads"], "threads"),
        (&["--variant", "baseline"], "baseline"),
        (&[], "relaxed"),
    ] {
        let out = room.ok(&[&["run", "digits.wasm", "--input", "x.npy", "--json"], options].concat());
        let report: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(report["variant"], variant, "{options:?}");
    }
    let shown = room.ok(&["inspect", "digits.wasm"]);
    assert!(shown.contains("baseline, relaxed (") && shown.contains(": relaxed-simd, atomics, deflate)"), "{shown}");
}

#[test]
fn damaged_variants_are_errors() {
    let room = Room::new();
    let file = digits(&room, &[]);
    let at = |name: &[u8]| file.windows(name.len()).rposition(|w| w == name).unwrap() + name.len();
    // The middle of the code of a variant.
    let mut bad = file.clone();
    for byte in &mut bad[at(b"wasm-torch.variant.threads") + 3000..][..400] {
        *byte = 0xff;
    }
    let options = LoadOptions { threads: Some(2), variant: Some("threads".into()), folder: None, ..LoadOptions::default() };
    let error = Instance::load_with(&bad, &options).err().expect("refused").to_string();
    assert!(error.contains("the section of the variant threads is damaged"), "{error}");
    Instance::load(&bad).expect("the others are whole");
    let error = Instance::load_with(&file[..file.len() / 2], &options).err().expect("refused").to_string();
    assert!(error.contains("cut off"), "{error}");
}

#[test]
fn pages_that_no_memory_has_are_errors() {
    let room = Room::new();
    let file = digits(&room, &[]);
    let needle = br#""maximum_pages":"#;
    let at = file.windows(needle.len()).position(|w| w == needle).unwrap() + needle.len();
    let digits = file[at..].iter().take_while(|b| b.is_ascii_digit()).count();
    for (variant, threads) in [("relaxed", 1), ("threads", 2)] {
        let mut bad = file.clone();
        bad[at..at + digits].fill(b' ');
        bad[at] = b'0';
        let options = LoadOptions { threads: Some(threads), variant: Some(variant.into()), ..LoadOptions::default() };
        let error = Instance::load_with(&bad, &options).err().expect("refused");
        assert!(matches!(error, EngineError::Interface(_)), "{error}");
        assert!(error.to_string().contains("to 0 pages"), "{error}");
    }
}

#[test]
fn external_weights_come_from_the_folder() {
    let room = Room::new();
    let whole = digits(&room, &[]);
    let inputs: Vec<NamedTensor> = verify::random_inputs(Instance::load(&whole).unwrap().manifest(), 3);
    let apart = digits(&room, &["--external-weights=1"]);
    let folder = Some(room.path(""));
    for variant in KINDS {
        let options = LoadOptions { threads: None, variant: Some(variant.into()), folder: folder.clone(), ..LoadOptions::default() };
        let outputs = Instance::load_with(&apart, &options).unwrap().forward(&inputs).unwrap();
        assert_eq!(outputs, load(&whole, variant, 1).forward(&inputs).unwrap(), "{variant}");
    }
    let error = Instance::load(&apart).err().expect("no folder").to_string();
    assert!(error.contains("from bytes"), "{error}");
    let chunk = room.files().into_iter().find(|name| name.contains(".weights.0.")).expect("a chunk");
    assert!(apart.len() < 300_000 && chunk.starts_with("digits.weights.0.") && chunk.ends_with(".bin"), "{chunk}");
    let mut bytes = std::fs::read(room.path(&chunk)).unwrap();
    bytes[100] ^= 1;
    room.write(&chunk, &bytes);
    let error = Instance::load_with(&apart, &LoadOptions { folder, ..LoadOptions::default() }).err().expect("damaged").to_string();
    assert!(error.contains(&chunk) && error.contains("not what the module was exported with"), "{error}");
}

#[test]
fn files_beside_the_module() {
    let room = Room::new();
    let model = model("digits/digits.dynamo.onnx");
    let report: Value = serde_json::from_str(&room.ok(&["export", &model, "-o", "d.wasm", "--precompress", "--types", "--json"])).unwrap();
    assert_eq!(room.files(), ["d.d.ts", "d.wasm", "d.wasm.br", "d.wasm.gz"]);
    let module = std::fs::read(room.path("d.wasm")).unwrap();
    assert!(
        report["files"].as_array().unwrap().iter().all(|file| file["bytes"].as_u64().unwrap() < module.len() as u64),
        "{}",
        report["files"]
    );
    let names: Vec<&str> = report["sizes"]["variants"].as_array().unwrap().iter().map(|v| v[0].as_str().unwrap()).collect();
    assert_eq!(names, KINDS[1..]);
    let types = std::fs::read_to_string(room.path("d.d.ts")).unwrap();
    assert!(types.contains("readonly shape: readonly [1, 10]; readonly data: Float32Array"), "{types}");
}

/// What a server answers: status line and headers in lower case, and the body.
fn get(url: &str, path: &str, more: &str) -> (String, Vec<u8>) {
    let address = url.trim_start_matches("http://localhost:").trim_end_matches('/');
    let mut stream = TcpStream::connect(("127.0.0.1", address.parse::<u16>().unwrap())).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{more}\r\n").unwrap();
    let mut bytes = vec![];
    stream.read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").expect("headers");
    (String::from_utf8_lossy(&bytes[..end]).to_lowercase(), bytes[end + 4..].to_vec())
}

#[test]
fn the_server_gives_the_page_and_the_module() {
    let room = Room::new();
    let module = digits(&room, &["--precompress", "--external-weights"]);
    let serving = serve::serve(&[room.path("digits.wasm")], 0).unwrap();
    let url = serving.url();
    let (head, body) = get(&url, "/", "");
    assert!(head.starts_with("http/1.1 200") && head.contains("text/html") && !body.is_empty(), "{head}");
    for header in ["cross-origin-opener-policy: same-origin", "cross-origin-embedder-policy: require-corp"] {
        assert!(head.contains(header), "{head}");
    }
    let (head, body) = get(&url, "/module.wasm?again", "");
    assert!(head.contains("application/wasm") && !head.contains("content-encoding") && body == module, "{head}");
    let (head, body) = get(&url, "/module.wasm", "Accept-Encoding: gzip, br;q=1.0\r\n");
    assert!(head.contains("content-encoding: br") && body == std::fs::read(room.path("digits.wasm.br")).unwrap(), "{head}");
    let (head, _) = get(&url, "/module.wasm", "Accept-Encoding: br;q=0, gzip\r\n");
    assert!(head.contains("content-encoding: gzip"), "{head}");
    let (_, body) = get(&url, "/info.json", "");
    let info: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((info["modules"][0]["url"].as_str(), info["modules"][0]["name"].as_str()), (Some("/module.wasm"), Some("digits.wasm")));
    let chunk = room.files().into_iter().find(|name| name.ends_with(".bin")).unwrap();
    assert_eq!(get(&url, &format!("/{chunk}"), "").1, std::fs::read(room.path(&chunk)).unwrap());
    for path in ["/../digits.wasm", "/digits.wasm", "/etc/passwd", "/loader"] {
        assert!(get(&url, path, "").0.starts_with("http/1.1 404"), "{path}");
    }
    for name in ["index", "thread"] {
        assert!(get(&url, &format!("/loader/{name}.js"), "").0.contains("text/javascript"));
    }
    assert!(serve::serve(&[room.path("none.wasm")], 0).is_err());
}
