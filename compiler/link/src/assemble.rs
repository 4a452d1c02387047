//! The last step: manifest, code and data in one file, in the order in which a streaming host wants them. Bytes only.
//!
//! Order: header, manifest, further variants, code sections (the import of the memory among them), data (runtime's, records,
//! weights), names. The weights are copied once, from the plan into the file.

use crate::layout::Layout;
use crate::read::active_segments;
use crate::runtime::broken;
use crate::{DataSegment, Kind, LinkError, Sizes, weights};
use abi::manifest::{Manifest, Part, Place};
use lower::plan::Plan;
use std::borrow::Cow;
use wasm_encoder::{ConstExpr, Encode, SectionId};
use wasmparser::{Parser, Payload};

const HEADER: &[u8] = b"\0asm\x01\0\0\0";
const TYPES: u8 = SectionId::Type as u8;
const MEMORY: u8 = SectionId::Memory as u8;
/// How an import says that it is a memory.
const MEMORY_KIND: u8 = 2;

/// A further variant: the contents of a custom section.
pub struct Extra {
    pub kind: Kind,
    /// Its module, compressed.
    pub contents: Vec<u8>,
}

impl Extra {
    /// zlib's format, which `DecompressionStream` and every language's library read. The compressor is one crate without
    /// code for particular processors: the same bytes everywhere.
    pub fn new(kind: Kind, wasm: &[u8]) -> Extra {
        Extra { kind, contents: miniz_oxide::deflate::compress_to_vec_zlib(wasm, 9) }
    }
}

/// Writes the file around the linked code, whose parts the manifest then names. The sizes lack those of the kernels. With
/// `stored` = 0 the weights are left out: they lie elsewhere.
pub fn assemble(
    kind: Kind,
    sections: &Sections,
    extras: &[Extra],
    manifest: &mut Manifest,
    plan: &Plan,
    layout: &Layout,
    stored: usize,
    records: &[u8],
) -> Result<(Vec<u8>, Sizes), LinkError> {
    let records = (!records.is_empty()).then_some(DataSegment { address: layout.steps, bytes: records });
    let mut file = File::default();
    for Extra { kind, contents } in extras {
        file.custom_section(&kind.section(), &contents[..], Place::Code(kind.name().into()));
    }
    let variants = file.pieces.chunks(2).zip(extras).map(|(section, extra)| (extra.kind.name().to_string(), bytes(section))).collect();
    let before_code = file.pieces.len();
    sections.put_into(&mut file, kind);
    let before_data = file.pieces.len();
    let code = HEADER.len() + bytes(&file.pieces[before_code..]);

    let mut segments = File::default();
    for DataSegment { address, bytes } in sections.segments.iter().copied().chain(records) {
        segments.put(segment_header(address, bytes.len()), Place::Nowhere);
        segments.put(bytes, Place::Memory(address));
    }
    let mut count = Vec::new();
    (segments.pieces.len() / 2 + usize::from(stored > 0)).encode(&mut count);
    segments.pieces.insert(0, (count.into(), Place::Nowhere));
    if stored > 0 {
        segments.put(segment_header(layout.weights_base, stored), Place::Nowhere);
    }
    file.put(section_header(SectionId::Data as u8, bytes(&segments.pieces) + stored), Place::Nowhere);
    file.pieces.append(&mut segments.pieces);
    let data = bytes(&file.pieces[before_data..]);

    manifest.parts = file.parts();
    if stored > 0 {
        manifest.parts.push(Part(stored as u32, Place::Memory(layout.weights_base)));
    }
    if !sections.names.is_empty() {
        manifest.parts.push(Part(sections.names.len() as u32, Place::Nowhere));
    }
    let json = serde_json::to_vec(manifest).map_err(broken)?;
    let mut described = File::default();
    described.custom_section(abi::MANIFEST_SECTION, json, Place::Nowhere);

    let manifest = bytes(&described.pieces);
    let total = HEADER.len() + manifest + bytes(&file.pieces) + stored + sections.names.len();
    let mut wasm = Vec::with_capacity(total);
    wasm.extend_from_slice(HEADER);
    for (piece, _) in described.pieces.iter().chain(&file.pieces) {
        wasm.extend_from_slice(piece);
    }
    weights::append(&mut wasm, plan, layout, stored);
    wasm.extend_from_slice(&sections.names);
    debug_assert_eq!(wasm.len(), total);

    let sizes = Sizes { total, code, data, weights: stored, manifest, names: sections.names.len(), variants, kernels: Vec::new() };
    Ok((wasm, sizes))
}

/// A file in pieces, each with where it belongs once it is read.
#[derive(Default)]
struct File<'a> {
    pieces: Vec<(Cow<'a, [u8]>, Place)>,
}

impl<'a> File<'a> {
    fn put(&mut self, bytes: impl Into<Cow<'a, [u8]>>, place: Place) {
        self.pieces.push((bytes.into(), place));
    }

    /// Two pieces: the header with the name, and the contents.
    fn custom_section(&mut self, name: &str, contents: impl Into<Cow<'a, [u8]>>, place: Place) {
        let contents = contents.into();
        let mut named = Vec::with_capacity(name.len() + 1);
        name.encode(&mut named);
        let header = section_header(SectionId::Custom as u8, named.len() + contents.len());
        self.put([header, named].concat(), Place::Nowhere);
        self.put(contents, place);
    }

    /// The pieces' sizes; neighbours of one place are one.
    fn parts(&self) -> Vec<Part> {
        let mut parts: Vec<Part> = Vec::new();
        for (bytes, place) in &self.pieces {
            match parts.last_mut() {
                Some(Part(size, last)) if last == place && !matches!(place, Place::Memory(_)) => *size += bytes.len() as u32,
                _ => parts.push(Part(bytes.len() as u32, place.clone())),
            }
        }
        parts
    }
}

fn bytes(pieces: &[(Cow<[u8]>, Place)]) -> usize {
    pieces.iter().map(|(piece, _)| piece.len()).sum()
}

/// What the linked code consists of.
pub struct Sections<'a> {
    /// Every section but data and names.
    code: Vec<(u8, &'a [u8])>,
    segments: Vec<DataSegment<'a>>,
    /// The name section with header, or nothing.
    names: Vec<u8>,
    /// Function indices of the last element segment: the table of kernels.
    table: Vec<u32>,
    /// Size of each function's body.
    bodies: Vec<u32>,
}

impl<'a> Sections<'a> {
    pub fn read(code: &'a [u8]) -> Result<Sections<'a>, LinkError> {
        let mut sections = Sections { code: Vec::new(), segments: Vec::new(), names: Vec::new(), table: Vec::new(), bodies: Vec::new() };
        for payload in Parser::new(0).parse_all(code) {
            let payload = payload.map_err(broken)?;
            match &payload {
                Payload::ElementSection(section) => {
                    for element in section.clone() {
                        if let wasmparser::ElementItems::Functions(functions) = element.map_err(broken)?.items {
                            sections.table = functions.into_iter().collect::<Result<_, _>>().map_err(broken)?;
                        }
                    }
                }
                Payload::CodeSectionEntry(body) => {
                    sections.bodies.push((body.range().end - body.range().start) as u32);
                }
                Payload::DataSection(section) => sections.segments = active_segments(section.clone()).map_err(broken)?,
                _ => {}
            }
            let Some((id, range)) = payload.as_section() else { continue };
            let bytes = &code[range.start as usize..range.end as usize];
            if id == SectionId::Custom as u8 {
                sections.names.extend([&section_header(id, bytes.len()), bytes].concat());
            } else if id != SectionId::DataCount as u8 && id != SectionId::Data as u8 {
                sections.code.push((id, bytes));
            }
        }
        Ok(sections)
    }

    /// Puts the code into a file. Behind the types of code that owns its memory comes, in a custom section that engines pass over,
    /// the import that replaces the memory where a host brings its own.
    fn put_into(&self, file: &mut File<'a>, kind: Kind) {
        let memory = self.code.iter().find(|(id, _)| *id == MEMORY);
        for &(id, bytes) in &self.code {
            let place = if id == MEMORY { Place::Nowhere } else { Place::Code(kind.name().into()) };
            file.put(section_header(id, bytes.len()), place.clone());
            file.put(bytes, place);
            if let (TYPES, Some((_, memory))) = (id, memory) {
                file.custom_section(abi::IMPORT_SECTION, import_of(memory), Place::Code(kind.name().into()));
            }
        }
    }

    /// Size of each kernel of the plan, or of the relaxed one; 0 for one that is not in the table.
    pub fn kernel_bytes(&self, layout: &Layout, kind: Kind, kernels: usize) -> Vec<u32> {
        let mut sizes = vec![0; kernels];
        for (function, row) in self.table.iter().zip(&layout.table.rows) {
            sizes[row[usize::from(kind.relaxed())].0] = self.bodies.get(*function as usize).copied().unwrap_or(0);
        }
        sizes
    }

    /// The linked code as a module of its own, which has no data.
    pub fn into_module(self) -> Result<Vec<u8>, LinkError> {
        if !self.segments.is_empty() {
            return Err(LinkError::Runtime("a variant with data of its own".into()));
        }
        let mut wasm = HEADER.to_vec();
        for (id, bytes) in &self.code {
            wasm.extend(section_header(*id, bytes.len()));
            wasm.extend_from_slice(bytes);
        }
        wasm.extend(self.names);
        Ok(wasm)
    }
}

/// An import section with the one memory that a memory section defines.
fn import_of(memory: &[u8]) -> Vec<u8> {
    let mut import = vec![1];
    abi::MEMORY_MODULE.encode(&mut import);
    abi::MEMORY.encode(&mut import);
    import.push(MEMORY_KIND);
    import.extend_from_slice(&memory[1..]);
    [section_header(SectionId::Import as u8, import.len()), import].concat()
}

fn section_header(id: u8, bytes: usize) -> Vec<u8> {
    let mut header = vec![id];
    bytes.encode(&mut header);
    header
}

/// An active segment of memory 0, up to its bytes.
fn segment_header(address: u32, bytes: usize) -> Vec<u8> {
    let mut header = vec![0];
    ConstExpr::i32_const(address as i32).encode(&mut header);
    bytes.encode(&mut header);
    header
}
