//! Files and bytes to protobuf messages. What is not an ONNX model is named for what it looks like.

use crate::error::{ImportErrors, Kind, Problem};
use crate::proto::ModelProto;
use prost::Message;
use prost::bytes::Bytes;
use std::path::Path;

const EXPORT: &str = "export it first: torch.onnx.export(model, (example,), \"model.onnx\")";

/// Beginnings of files that are often mistaken for ONNX models: bytes, what they are, what to do.
const SIGNATURES: &[(&[u8], &str, &str)] = &[
    (b"\x89PNG", "a PNG image", "pass the model, not an image"),
    (b"\xff\xd8\xff", "a JPEG image", "pass the model, not an image"),
    (b"PK\x03\x04", "a zip archive; PyTorch checkpoints (.pt, .pth) look like this", EXPORT),
    (b"\x80\x02", "a Python pickle; old PyTorch checkpoints look like this", EXPORT),
    (b"\x80\x04", "a Python pickle; old PyTorch checkpoints look like this", EXPORT),
    (b"\0asm", "a WebAssembly module; it may have been exported already", "pass the .onnx file it was made from"),
    (b"\x1f\x8b", "a gzip archive", "unpack it first"),
    (b"\x93NUMPY", "a NumPy array", "pass the model, not its input"),
    (b"GGUF", "a GGUF model", EXPORT),
    (b"\x89HDF", "an HDF5 file; Keras models look like this", "convert it to ONNX first (tf2onnx)"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself", "fetch the file: git lfs pull"),
    (b"<!DOCTYPE", "an HTML page", "the download may have returned an error page; fetch the file again"),
    (b"<!doctype", "an HTML page", "the download may have returned an error page; fetch the file again"),
    (b"<html", "an HTML page", "the download may have returned an error page; fetch the file again"),
    (b"{", "JSON text", "pass the .onnx file"),
    (b"\x7fELF", "a program", "pass the .onnx file"),
];

/// What the bytes look like, if not ONNX.
fn signature(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    let known = SIGNATURES.iter().find(|(magic, ..)| bytes.starts_with(magic)).map(|(_, what, hint)| (*what, *hint));
    let safetensors = bytes.len() > 9 && bytes[8] == b'{' && bytes[5..8] == [0, 0, 0];
    let tflite = bytes.get(4..8) == Some(b"TFL3");
    known
        .or(safetensors.then_some(("a safetensors file: weights without a model", EXPORT)))
        .or(tflite.then_some(("a TensorFlow Lite model", "convert the original model to ONNX")))
}

/// Reads a whole file.
pub(crate) fn read(path: &Path) -> Result<Bytes, ImportErrors> {
    let shown = path.display();
    if path.is_dir() {
        let hint = format!("pass the model file inside it, e.g. {}", path.join("model.onnx").display());
        return Err(Problem::model(Kind::Unreadable, format!("{shown} is a directory, not an ONNX file"), hint).into());
    }
    std::fs::read(path).map(Bytes::from).map_err(|e| {
        let hint = match e.kind() {
            std::io::ErrorKind::NotFound => "check the path",
            std::io::ErrorKind::PermissionDenied => "check the file's permissions",
            _ => "",
        };
        Problem::model(Kind::Unreadable, format!("cannot read {shown}: {e}"), hint).into()
    })
}

/// Decodes a model. `name` is how errors call the bytes.
pub(crate) fn decode(bytes: Bytes, name: &str) -> Result<ModelProto, ImportErrors> {
    let wrong = |sentence: String, hint: &str| Err(Problem::model(Kind::NotOnnx, sentence, hint).into());
    if bytes.is_empty() {
        return wrong(format!("{name} is empty, not an ONNX model"), "the export or the download may have failed; make the file again");
    }
    if let Some((what, hint)) = signature(&bytes) {
        return wrong(format!("{name} is not an ONNX model: it is {what}"), hint);
    }
    let size = bytes.len();
    // A model begins with its `ir_version`: field 1, a varint.
    let plausible = bytes[0] == 0x08;
    match ModelProto::decode(bytes) {
        Ok(model) if model.graph.is_some() => Ok(model),
        Ok(_) => wrong(
            format!("{name} ({size} bytes) holds no graph"),
            "it is not an ONNX model, or only the beginning of one; export or download it again",
        ),
        Err(e) if plausible => wrong(
            format!("{name} ({size} bytes) is a damaged or truncated ONNX model: {e}"),
            "compare its size with the original's; export or download it again",
        ),
        Err(e) => wrong(format!("{name} ({size} bytes) is not an ONNX model: {e}"), EXPORT),
    }
}
