//! Runtime and generated functions become one module, from which everything unreachable is dropped. No weights pass here.
//!
//! The merge only appends: every index space starts with the runtime's own entries, then come the generated ones, and the
//! runtime's imports are replaced by generated functions. The garbage collector (walrus) is named in this file alone.

use crate::Kind;
use crate::LinkError;
use crate::functions::{Functions, Generated, KERNEL_PARAMS, arena_base_global, kernel_table, kernel_type};
use crate::layout::Layout;
use crate::runtime::Runtime;
use std::convert::Infallible;
use wasm_encoder::reencode::{Error, Reencode};
use wasm_encoder::{
    CodeSection, ConstExpr, DataSection, ElementSection, Elements, ExportKind, ExportSection, FunctionSection, GlobalSection, GlobalType,
    ImportSection, MemorySection, MemoryType, Module, NameMap, NameSection, RefType, TableSection, TableType, TypeSection, ValType,
};
use wasmparser::{ExternalKind, Parser, Payload};

/// The linked code: a module without weights, records and manifest.
pub fn merge(
    kind: Kind,
    import_memory: bool,
    runtime: &Runtime,
    functions: &Functions,
    layout: &Layout,
    debug_names: bool,
) -> Result<Vec<u8>, LinkError> {
    let mut parts = Parts::default();
    parts.append_runtime(runtime).map_err(|error| LinkError::Runtime(describe(&error)))?;
    parts.append_memory(kind, import_memory, layout);
    parts.append_generated(kind, runtime, functions, layout);
    collect_garbage(&parts.finish(), debug_names)
}

fn describe(error: &Error<Infallible>) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), |source| source.to_string())
}

/// Drops what no export and no table reaches.
fn collect_garbage(wasm: &[u8], debug_names: bool) -> Result<Vec<u8>, LinkError> {
    let mut config = walrus::ModuleConfig::new();
    config.generate_name_section(debug_names).generate_producers_section(false);
    let mut module = config.parse(wasm).map_err(|error| LinkError::Invalid(format!("{error:#}")))?;
    walrus::passes::gc::run(&mut module);
    Ok(module.emit_wasm())
}

/// The sections under construction.
#[derive(Default)]
struct Parts {
    types: TypeSection,
    imports: ImportSection,
    functions: FunctionSection,
    tables: TableSection,
    memories: MemorySection,
    globals: GlobalSection,
    exports: ExportSection,
    elements: ElementSection,
    code: CodeSection,
    data: DataSection,
    names: NameMap,
}

impl Parts {
    fn append_runtime(&mut self, runtime: &Runtime) -> Result<(), Error<Infallible>> {
        let mut renumber = Renumber { runtime };
        for payload in Parser::new(0).parse_all(runtime.bytes) {
            match payload? {
                Payload::TypeSection(section) => renumber.parse_type_section(&mut self.types, section)?,
                Payload::FunctionSection(section) => renumber.parse_function_section(&mut self.functions, section)?,
                Payload::TableSection(section) => renumber.parse_table_section(&mut self.tables, section)?,
                Payload::GlobalSection(section) => renumber.parse_global_section(&mut self.globals, section)?,
                Payload::ElementSection(section) => renumber.parse_element_section(&mut self.elements, section)?,
                Payload::DataSection(section) => renumber.parse_data_section(&mut self.data, section)?,
                Payload::CodeSectionEntry(body) => renumber.parse_function_body(&mut self.code, body)?,
                Payload::ExportSection(section) => {
                    for export in section {
                        let export = export?;
                        // Only the host's surface: whatever is exported survives the garbage collection.
                        let function = export.kind == ExternalKind::Func && is_export(export.name);
                        let memory = export.kind == ExternalKind::Memory && export.name == abi::MEMORY;
                        if function || memory {
                            let index = renumber.external_index(export.kind, export.index)?;
                            if function {
                                self.names.append(index, export.name);
                            }
                            self.exports.export(export.name, renumber.export_kind(export.kind)?, index);
                        }
                    }
                }
                // Imports are resolved, the memory is declared anew, the rest carries no meaning.
                _ => {}
            }
        }
        Ok(())
    }

    /// The one memory: of the module itself, or of the host, which all variants of a file describe alike.
    fn append_memory(&mut self, kind: Kind, import: bool, layout: &Layout) {
        let memory = MemoryType {
            minimum: layout.initial_pages.into(),
            maximum: Some(layout.maximum_pages.into()),
            memory64: false,
            shared: kind.threads(),
            page_size_log2: None,
        };
        if import {
            self.imports.import(abi::MEMORY_MODULE, abi::MEMORY, memory);
        } else {
            self.memories.memory(memory);
        }
    }

    fn append_generated(&mut self, kind: Kind, runtime: &Runtime, functions: &Functions, layout: &Layout) {
        self.globals
            .global(GlobalType { val_type: ValType::I32, mutable: true, shared: false }, &ConstExpr::i32_const(layout.arena_base as i32));
        self.exports.export(abi::ARENA_BASE, ExportKind::Global, arena_base_global(runtime));

        // Types in the order of `kernel_type`; the garbage collector merges equal ones.
        self.add_type(KERNEL_PARAMS, false);
        for (row, function) in functions.link.iter().enumerate() {
            self.add_type(function.params, function.returns);
            self.add_function(function, kernel_type(runtime) + 1 + row as u32, runtime.first_generated() + row as u32);
        }
        let first_kernel = runtime.first_generated() + functions.link.len() as u32;
        for (kernel, function) in functions.kernels.iter().enumerate() {
            self.add_function(function, kernel_type(runtime), first_kernel + kernel as u32);
        }

        let rows: Vec<u32> = layout.table.rows.iter().map(|kernels| first_kernel + kernels[usize::from(kind.relaxed())].0 as u32).collect();
        let size = rows.len() as u64;
        self.tables.table(TableType { element_type: RefType::FUNCREF, table64: false, minimum: size, maximum: Some(size), shared: false });
        let table = kernel_table(runtime);
        let table = if table == 0 { None } else { Some(table) };
        self.elements.active(table, &ConstExpr::i32_const(0), Elements::Functions(rows.into()));
    }

    fn add_function(&mut self, function: &Generated, type_index: u32, index: u32) {
        self.functions.function(type_index);
        self.code.function(&function.body);
        self.names.append(index, &function.name);
    }

    fn add_type(&mut self, params: u32, returns: bool) {
        let results: &[ValType] = if returns { &[ValType::I32] } else { &[] };
        self.types.ty().function(vec![ValType::I32; params as usize], results.iter().copied());
    }

    fn finish(self) -> Vec<u8> {
        let mut names = NameSection::new();
        names.functions(&self.names);
        let mut module = Module::new();
        module.section(&self.types).section(&self.imports).section(&self.functions).section(&self.tables).section(&self.memories);
        module.section(&self.globals).section(&self.exports).section(&self.elements).section(&self.code);
        module.section(&self.data).section(&names);
        module.finish()
    }
}

fn is_export(name: &str) -> bool {
    abi::EXPORTS.iter().chain(abi::THREAD_EXPORTS).any(|f| f.name == name)
}

/// Rewrites the runtime's function indices: its imports become generated functions, its own move to the front.
struct Renumber<'a> {
    runtime: &'a Runtime,
}

impl Reencode for Renumber<'_> {
    type Error = Infallible;

    fn function_index(&mut self, index: u32) -> Result<u32, Error<Infallible>> {
        Ok(match self.runtime.imports.get(index as usize) {
            Some(name) => {
                let row = abi::LINK_IMPORTS.iter().position(|f| f.name == name);
                self.runtime.first_generated() + row.expect("imports were checked when the runtime was read") as u32
            }
            None => index - self.runtime.imports.len() as u32,
        })
    }
}
