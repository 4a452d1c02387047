//! The embedded runtimes and the facts about them that the rest of the link needs. Their sources are in `runtime/module`.

use crate::LinkError;
use wasmparser::{ExternalKind, Operator, Parser, Payload, TypeRef};

/// Built by `cargo xtask runtime`.
const BYTES: &[u8] = include_bytes!("../../../runtime/runtime.wasm");
/// The flavour for several threads.
const THREADS: &[u8] = include_bytes!("../../../runtime/runtime_threads.wasm");

/// The runtime and its index spaces.
pub struct Runtime {
    pub bytes: &'static [u8],
    /// Names of its imported functions, all from module `link`, in order.
    pub imports: Vec<String>,
    /// Counts of what it defines itself.
    pub functions: u32,
    pub types: u32,
    pub tables: u32,
    pub globals: u32,
    /// First address above its stack and its data.
    pub heap_base: u32,
    /// Index of the global that is its stack pointer.
    pub stack_pointer: Option<u32>,
    /// Routines by name, with their function indices in the linked module.
    pub routines: Vec<(String, u32)>,
}

impl Runtime {
    pub fn embedded(threads: bool) -> Result<Runtime, LinkError> {
        Runtime::read(if threads { THREADS } else { BYTES })
    }

    fn read(bytes: &'static [u8]) -> Result<Runtime, LinkError> {
        let mut runtime = Runtime {
            bytes,
            imports: Vec::new(),
            functions: 0,
            types: 0,
            tables: 0,
            globals: 0,
            heap_base: 0,
            stack_pointer: None,
            routines: Vec::new(),
        };
        let mut constants = Vec::new();
        let mut heap_base = None;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload.map_err(broken)? {
                Payload::TypeSection(section) => runtime.types = section.count(),
                Payload::FunctionSection(section) => runtime.functions = section.count(),
                Payload::TableSection(section) => runtime.tables = section.count(),
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let import = import.map_err(broken)?;
                        let known = abi::LINK_IMPORTS.iter().any(|f| f.name == import.name);
                        if import.module != abi::LINK_MODULE || !known || !matches!(import.ty, TypeRef::Func(_)) {
                            return Err(LinkError::Runtime(format!("it imports {}.{}", import.module, import.name)));
                        }
                        runtime.imports.push(import.name.to_string());
                    }
                }
                Payload::GlobalSection(section) => {
                    for global in section {
                        let first = global.map_err(broken)?.init_expr.get_operators_reader().read().map_err(broken)?;
                        constants.push(if let Operator::I32Const { value } = first { Some(value as u32) } else { None });
                    }
                }
                Payload::ExportSection(section) => {
                    for export in section {
                        let export = export.map_err(broken)?;
                        match (export.kind, export.name) {
                            (ExternalKind::Global, "__heap_base") => heap_base = Some(export.index),
                            (ExternalKind::Global, "__stack_pointer") => runtime.stack_pointer = Some(export.index),
                            (ExternalKind::Func, name) if let Some(routine) = name.strip_prefix(abi::ROUTINE_EXPORT) => {
                                runtime.routines.push((routine.to_string(), export.index - runtime.imports.len() as u32));
                            }
                            _ => {}
                        }
                    }
                }
                Payload::StartSection { .. } => return Err(LinkError::Runtime("it has a start function".into())),
                _ => {}
            }
        }
        runtime.globals = constants.len() as u32;
        runtime.heap_base = heap_base
            .and_then(|index| *constants.get(index as usize)?)
            .ok_or_else(|| LinkError::Runtime("it exports no constant __heap_base".into()))?;
        Ok(runtime)
    }

    /// Index in the linked module of a routine.
    pub fn routine(&self, name: &str) -> Option<u32> {
        self.routines.iter().find(|(routine, _)| routine == name).map(|(_, index)| *index)
    }

    /// Index in the linked module of the first generated function: imports are gone, the runtime's own come first.
    pub fn first_generated(&self) -> u32 {
        self.functions
    }
}

/// For errors of reading the embedded bytes.
pub fn broken(error: impl std::fmt::Display) -> LinkError {
    LinkError::Runtime(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Message texts of panics and of `fmt` would be data.
    #[test]
    fn the_runtime_is_free_of_texts() {
        for bytes in [BYTES, THREADS] {
            let data = Parser::new(0).parse_all(bytes).find_map(|payload| match payload.expect("valid") {
                Payload::DataSection(section) => Some(section.count()),
                _ => None,
            });
            assert_eq!(data, None);
        }
    }

    #[test]
    fn the_runtime_is_understood() {
        for threads in [false, true] {
            let runtime = Runtime::embedded(threads).expect("reads");
            assert_eq!(runtime.imports.len(), abi::LINK_IMPORTS.iter().filter(|f| threads || !f.doc.contains("Threads only")).count());
            assert!(runtime.heap_base > 16 * 1024 && runtime.heap_base < 32 * 1024, "a stack and a few hundred bytes");
            assert!(runtime.stack_pointer.is_some());
        }
        assert!(Runtime::read(b"\0asm\x01\0\0\0").is_err(), "no __heap_base");
    }
}
