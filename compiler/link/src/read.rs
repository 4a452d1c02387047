//! Reads manifest and sizes back from bytes of any origin. It checks that the file is whole, not that its code is valid.

use crate::Sizes;
use crate::describe::DEFLATE;
use abi::manifest::Manifest;
use std::borrow::Cow;
use std::ops::Range;
use wasmparser::{BinaryReader, DataKind, DataSectionReader, Operator};

/// Why bytes are not a module of this project.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("not a WebAssembly module: the file is empty")]
    Empty,
    #[error("not a WebAssembly module{}", match .looks_like { Some(kind) => format!(": this is {kind}"), None => String::new() })]
    NotWasm { looks_like: Option<&'static str> },
    #[error("a WebAssembly component, not a module")]
    Component,
    #[error("the module is cut off: section {section} needs {missing} more bytes\nhint: copy or download the file again")]
    Truncated { section: usize, missing: u64 },
    #[error("the module is damaged at byte {offset}: {reason}")]
    Damaged { offset: u64, reason: String },
    #[error("a WebAssembly module without a wasm-torch manifest\nhint: make one with `wasm-torch export`")]
    NoManifest,
    #[error("the module has ABI version {found}, this program knows {}\nhint: {}", abi::ABI_VERSION, advice(*.found))]
    UnsupportedAbi { found: u64 },
    #[error("the manifest cannot be read: {0}")]
    BadManifest(#[source] serde_json::Error),
}

fn advice(found: u64) -> &'static str {
    if found > u64::from(abi::ABI_VERSION) { "use a newer wasm-torch" } else { "export the model again" }
}

/// The manifest of a module.
///
/// # Errors
/// See [`ManifestError`]; no bytes make it panic.
pub fn read_manifest(bytes: &[u8]) -> Result<Manifest, ManifestError> {
    parse(manifest_section(bytes)?)
}

fn parse(json: &[u8]) -> Result<Manifest, ManifestError> {
    // The version first: the rest of a newer manifest may look different.
    let value: serde_json::Value = serde_json::from_slice(json).map_err(ManifestError::BadManifest)?;
    match value.get("abi").and_then(serde_json::Value::as_u64) {
        Some(found) if found != u64::from(abi::ABI_VERSION) => Err(ManifestError::UnsupportedAbi { found }),
        _ => serde_json::from_value(value).map_err(ManifestError::BadManifest),
    }
}

/// What takes how many bytes of a module.
///
/// # Errors
/// As [`read_manifest`].
pub fn read_sizes(bytes: &[u8]) -> Result<Sizes, ManifestError> {
    let manifest = read_manifest(bytes)?;
    let mut sizes =
        Sizes { total: bytes.len(), code: HEADER, data: 0, weights: 0, manifest: 0, names: 0, variants: Vec::new(), kernels: Vec::new() };
    for section in sections(bytes)? {
        let size = section.range.len();
        match (section.id, section.name) {
            (CUSTOM, abi::MANIFEST_SECTION) => sizes.manifest += size,
            (CUSTOM, name) if name.starts_with(abi::VARIANT_SECTION) => {
                sizes.variants.push((name[abi::VARIANT_SECTION.len()..].to_string(), size));
            }
            (CUSTOM, abi::IMPORT_SECTION) => sizes.code += size,
            (CUSTOM, _) => sizes.names += size,
            (DATA, _) => {
                let stored = weight_bytes(&section, &manifest)?;
                sizes.weights += stored;
                sizes.data += size - stored;
            }
            _ => sizes.code += size,
        }
    }
    for step in &manifest.steps {
        let kernel = (step.kernel.clone(), step.code_bytes);
        if !sizes.kernels.contains(&kernel) {
            sizes.kernels.push(kernel);
        }
    }
    Ok(sizes)
}

/// Bytes of the segments that lie in the weights.
fn weight_bytes(section: &Section, manifest: &Manifest) -> Result<usize, ManifestError> {
    let weights = u64::from(manifest.memory.weights_base);
    let weights = weights..weights + u64::from(manifest.memory.weights_bytes);
    let inside = segments(section)?.into_iter().filter(|segment| weights.contains(&u64::from(segment.address)));
    Ok(inside.map(|segment| segment.bytes.len()).sum())
}

/// A file as the host of a variant needs it.
#[derive(Debug)]
pub struct Image<'a> {
    pub manifest: Manifest,
    /// What the host writes into the memory, once.
    pub data: Vec<DataSegment<'a>>,
    sections: Vec<Section<'a>>,
    /// The file up to its data: the module of its own kind.
    own: &'a [u8],
}

/// Bytes and where they go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataSegment<'a> {
    pub address: u32,
    pub bytes: &'a [u8],
}

impl<'a> Image<'a> {
    /// The module of a variant, without data.
    pub fn variant(&self, name: &str) -> Option<Cow<'a, [u8]>> {
        if name == self.manifest.variant {
            return Some(self.own.into());
        }
        let variant = self.manifest.variants.iter().find(|variant| variant.name == name)?;
        let section = self.sections.iter().find(|section| section.id == CUSTOM && section.name == variant.section)?;
        let code: Cow<[u8]> = if variant.features.iter().any(|feature| feature == DEFLATE) {
            let most = MAX_CODE_BYTES.min(variant.bytes as usize);
            miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(section.contents, most).ok()?.into()
        } else {
            section.contents.into()
        };
        (code.len() == variant.bytes as usize).then_some(code)
    }
}

/// The parts of a module.
///
/// # Errors
/// As [`read_manifest`].
pub fn read_image(bytes: &[u8]) -> Result<Image<'_>, ManifestError> {
    let manifest = read_manifest(bytes)?;
    let sections = sections(bytes)?;
    let data = sections.iter().find(|section| section.id == DATA);
    let own = &bytes[..data.map_or(bytes.len(), |data| data.range.start)];
    let data = data.map_or(Ok(Vec::new()), segments)?;
    Ok(Image { manifest, data, sections, own })
}

fn segments<'a>(section: &Section<'a>) -> Result<Vec<DataSegment<'a>>, ManifestError> {
    let start = section.range.start as u64;
    let reader = DataSectionReader::new(BinaryReader::new(section.contents, start));
    reader.and_then(active_segments).map_err(|error| damaged(start, &error))
}

/// The active segments of a data section.
pub fn active_segments(section: DataSectionReader<'_>) -> Result<Vec<DataSegment<'_>>, wasmparser::Error> {
    let mut segments = Vec::new();
    for segment in section {
        let segment = segment?;
        if let DataKind::Active { offset_expr, .. } = segment.kind
            && let Ok(Operator::I32Const { value }) = offset_expr.get_operators_reader().read()
        {
            segments.push(DataSegment { address: value as u32, bytes: segment.data });
        }
    }
    Ok(segments)
}

const HEADER: usize = 8;
/// More code than an engine takes.
const MAX_CODE_BYTES: usize = 1 << 30;
const CUSTOM: u8 = 0;
const DATA: u8 = 11;

#[derive(Debug)]
struct Section<'a> {
    id: u8,
    /// Of a custom section.
    name: &'a str,
    /// Without the name.
    contents: &'a [u8],
    /// The whole section in the file.
    range: Range<usize>,
}

fn manifest_section(bytes: &[u8]) -> Result<&[u8], ManifestError> {
    let found = sections(bytes)?.into_iter().find(|section| (section.id, section.name) == (CUSTOM, abi::MANIFEST_SECTION));
    found.map(|section| section.contents).ok_or(ManifestError::NoManifest)
}

/// All sections, so that a file that was cut off is told apart from one without a manifest.
fn sections(bytes: &[u8]) -> Result<Vec<Section<'_>>, ManifestError> {
    check_header(bytes)?;
    let mut reader = BinaryReader::new(&bytes[HEADER..], HEADER as u64);
    let mut sections = Vec::new();
    while !reader.eof() {
        let truncated = |missing| ManifestError::Truncated { section: sections.len(), missing };
        let start = reader.original_position();
        let id = reader.read_u8().map_err(|_| truncated(1))?;
        let size = match reader.read_var_u32() {
            Ok(size) => size as usize,
            Err(_) if reader.bytes_remaining() == 0 => return Err(truncated(1)),
            Err(error) => return Err(damaged(start, &error)),
        };
        if size > reader.bytes_remaining() {
            return Err(truncated((size - reader.bytes_remaining()) as u64));
        }
        let mut contents = reader.read_bytes(size).map_err(|error| damaged(start, &error))?;
        let mut name = "";
        if id == CUSTOM {
            let mut custom = BinaryReader::new(contents, start);
            name = custom.read_string().map_err(|error| damaged(start, &error))?;
            contents = custom.read_bytes(custom.bytes_remaining()).map_err(|error| damaged(start, &error))?;
        }
        sections.push(Section { id, name, contents, range: start as usize..reader.original_position() as usize });
    }
    Ok(sections)
}

fn damaged(offset: u64, error: &wasmparser::Error) -> ManifestError {
    ManifestError::Damaged { offset, reason: error.message().to_string() }
}

const MAGIC: &[u8; 4] = b"\0asm";

/// First bytes of files that are easily taken for a module.
const LOOKALIKES: &[(&[u8], &str)] = &[
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"PK\x03\x04", "a ZIP archive (.npz, .pt)"),
    (b"\x93NUMPY", "a NumPy array (.npy)"),
    (b"\x1f\x8b", "a gzip file"),
    (b"(module", "WebAssembly text"),
    (b"<!DOCTYPE", "an HTML page"),
    (b"<html", "an HTML page"),
    (b"version https://git-lfs", "a Git LFS pointer"),
];

fn check_header(bytes: &[u8]) -> Result<(), ManifestError> {
    if bytes.is_empty() {
        return Err(ManifestError::Empty);
    }
    if bytes.len() < 8 && MAGIC.starts_with(&bytes[..bytes.len().min(4)]) {
        return Err(ManifestError::Truncated { section: 0, missing: 8 - bytes.len() as u64 });
    }
    if !bytes.starts_with(MAGIC) {
        let kind = LOOKALIKES.iter().find(|(start, _)| bytes.starts_with(start));
        return Err(ManifestError::NotWasm { looks_like: kind.map(|(_, kind)| *kind) });
    }
    match bytes[4..8] {
        [1, 0, 0, 0] => Ok(()),
        [_, _, 1, 0] => Err(ManifestError::Component),
        _ => Err(ManifestError::Damaged { offset: 4, reason: "unknown version of the format".into() }),
    }
}
