//! The last step: manifest, code and data in one file, in the order in which a streaming host wants them. Bytes only.
//!
//! Order: header, manifest, further variants, code sections, data (runtime's, records, weights), names. The weights are
//! copied once, from the plan into the file.

use crate::layout::Layout;
use crate::runtime::broken;
use crate::{Kind, LinkError, Sizes, weights};
use abi::manifest::Manifest;
use lower::plan::Plan;
use wasm_encoder::{ConstExpr, Encode, SectionId};
use wasmparser::{BinaryReader, Parser, Payload};

const HEADER: &[u8] = b"\0asm\x01\0\0\0";

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

/// Writes the file around the linked code. The sizes lack those of the kernels. With `stored` = 0 the weights are left
/// out: they lie elsewhere.
pub fn assemble(
    sections: &Sections,
    extras: &[Extra],
    manifest: &Manifest,
    plan: &Plan,
    layout: &Layout,
    stored: usize,
    records: &[u8],
) -> Result<(Vec<u8>, Sizes), LinkError> {
    let manifest = custom_section(abi::MANIFEST_SECTION, &serde_json::to_vec(manifest).map_err(broken)?);
    let extras: Vec<(Kind, Vec<u8>)> =
        extras.iter().map(|extra| (extra.kind, custom_section(&extra.kind.section(), &extra.contents))).collect();
    let extra_bytes: usize = extras.iter().map(|(_, section)| section.len()).sum();
    let segments = [segment_header(layout.steps, records.len()), segment_header(layout.weights_base, stored)];
    let has = [!records.is_empty(), stored > 0];

    let mut count = Vec::new();
    (sections.segment_count + has.iter().filter(|has| **has).count() as u32).encode(&mut count);
    let mut payload = count.len() + sections.segments.len();
    for (index, bytes) in [records.len(), stored].into_iter().enumerate() {
        payload += if has[index] { segments[index].len() + bytes } else { 0 };
    }
    let mut head = vec![SectionId::Data as u8];
    payload.encode(&mut head);

    let total = HEADER.len() + manifest.len() + extra_bytes + sections.code.len() + head.len() + payload + sections.names.len();
    let mut wasm = Vec::with_capacity(total);
    for part in [HEADER, &manifest].into_iter().chain(extras.iter().map(|(_, section)| &section[..])) {
        wasm.extend_from_slice(part);
    }
    for part in [&sections.code, &head, &count, sections.segments] {
        wasm.extend_from_slice(part);
    }
    if has[0] {
        wasm.extend_from_slice(&segments[0]);
        wasm.extend_from_slice(records);
    }
    if has[1] {
        wasm.extend_from_slice(&segments[1]);
        weights::append(&mut wasm, plan, layout, stored);
    }
    wasm.extend_from_slice(&sections.names);
    debug_assert_eq!(wasm.len(), total);

    let sizes = Sizes {
        total,
        code: HEADER.len() + sections.code.len(),
        data: head.len() + payload - stored,
        weights: stored,
        manifest: manifest.len(),
        names: sections.names.len(),
        variants: extras.into_iter().map(|(kind, section)| (kind.name().to_string(), section.len())).collect(),
        kernels: Vec::new(),
    };
    Ok((wasm, sizes))
}

/// What the linked code consists of.
pub struct Sections<'a> {
    /// Every section but data and names, with headers.
    code: Vec<u8>,
    /// The data segments, without the section's header and count.
    segments: &'a [u8],
    segment_count: u32,
    /// The name section with header, or nothing.
    names: Vec<u8>,
    /// Function indices of the last element segment: the table of kernels.
    table: Vec<u32>,
    /// Size of each function's body.
    bodies: Vec<u32>,
}

impl<'a> Sections<'a> {
    pub fn read(code: &'a [u8]) -> Result<Sections<'a>, LinkError> {
        let mut sections = Sections {
            code: Vec::with_capacity(code.len()),
            segments: &[],
            segment_count: 0,
            names: Vec::new(),
            table: Vec::new(),
            bodies: Vec::new(),
        };
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
                _ => {}
            }
            let Some((id, range)) = payload.as_section() else { continue };
            let bytes = &code[range.start as usize..range.end as usize];
            if id == SectionId::Data as u8 {
                let mut reader = BinaryReader::new(bytes, 0);
                sections.segment_count = reader.read_var_u32().map_err(broken)?;
                sections.segments = reader.read_bytes(reader.bytes_remaining()).map_err(broken)?;
            } else if id == SectionId::Custom as u8 {
                section_into(&mut sections.names, id, bytes);
            } else if id != SectionId::DataCount as u8 {
                section_into(&mut sections.code, id, bytes);
            }
        }
        Ok(sections)
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
        if self.segment_count != 0 {
            return Err(LinkError::Runtime("a variant with data of its own".into()));
        }
        Ok([HEADER, &self.code, &self.names].concat())
    }
}

fn section_into(out: &mut Vec<u8>, id: u8, bytes: &[u8]) {
    out.push(id);
    bytes.len().encode(out);
    out.extend_from_slice(bytes);
}

fn custom_section(name: &str, contents: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(name.len() + contents.len() + 5);
    name.encode(&mut bytes);
    bytes.extend_from_slice(contents);
    let mut section = Vec::with_capacity(bytes.len() + 6);
    section_into(&mut section, SectionId::Custom as u8, &bytes);
    section
}

/// An active segment of memory 0, up to its bytes.
fn segment_header(address: u32, bytes: usize) -> Vec<u8> {
    let mut header = vec![0];
    ConstExpr::i32_const(address as i32).encode(&mut header);
    bytes.encode(&mut header);
    header
}
