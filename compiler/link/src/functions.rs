//! The functions that a module has besides its runtime's: one per kernel, and those that complete the runtime.

use crate::LinkError;
use crate::layout::Layout;
use crate::runtime::Runtime;
use kernel::EmitCx;
use lower::plan::Plan;
use wasm_encoder::{Function, MemArg, MemArgTarget};

/// A generated function: parameters and result are `i32`.
pub struct Generated {
    pub name: String,
    pub params: u32,
    pub returns: bool,
    pub body: Function,
}

/// The functions in the order of their indices: first one per row of [`abi::LINK_IMPORTS`], then one per kernel.
pub struct Functions {
    pub link: Vec<Generated>,
    pub kernels: Vec<Generated>,
}

/// Type of every kernel: `(args, task) -> ()`.
pub const KERNEL_PARAMS: u32 = 2;

/// Emits the kernels and writes the runtime's missing functions. Rows that a runtime does not import stay empty.
pub fn generate(plan: &Plan, layout: &Layout, runtime: &Runtime) -> Result<Functions, LinkError> {
    let context = EmitCx { arena_base_global: arena_base_global(runtime), resolve: &|name| runtime.routine(name) };
    let kernels = plan.kernels.iter().map(|kernel| {
        let emitted = kernel::emit(kernel, &context)?;
        Ok(Generated { name: kernel.name.clone(), params: KERNEL_PARAMS, returns: false, body: emitted.function })
    });
    let kernels = kernels.collect::<Result<Vec<Generated>, LinkError>>()?;
    let link = abi::LINK_IMPORTS.iter().map(|f| {
        let imported = runtime.imports.iter().any(|name| name == f.name);
        let body = if imported { link_body(f.name, layout, runtime)? } else { trap() };
        Ok(Generated { name: f.name.to_string(), params: f.params, returns: f.returns, body })
    });
    Ok(Functions { link: link.collect::<Result<Vec<Generated>, LinkError>>()?, kernels })
}

/// Index of the arena's global: it follows the runtime's own.
pub fn arena_base_global(runtime: &Runtime) -> u32 {
    runtime.globals
}

/// Index of the table of kernels: it follows the runtime's own.
pub fn kernel_table(runtime: &Runtime) -> u32 {
    runtime.tables
}

/// Index of the type of kernels: it follows the runtime's own.
pub fn kernel_type(runtime: &Runtime) -> u32 {
    runtime.types
}

/// A word at its address.
const WORD: MemArg = MemArg { offset: 0, align: 2, target: MemArgTarget::Memory(0), ordering: None };

/// A body for what nothing calls; the garbage collector drops it.
fn trap() -> Function {
    let mut body = Function::new([]);
    body.instructions().unreachable().end();
    body
}

/// The body of a row of [`abi::LINK_IMPORTS`].
///
/// A kernel is reached through a table. A `br_table` over direct calls is no faster (V8: 3.6 against 3.9 ns a call,
/// where a kernel call takes microseconds) and is a function that grows with the model.
fn link_body(name: &str, layout: &Layout, runtime: &Runtime) -> Result<Function, LinkError> {
    let mut body = Function::new([]);
    let mut code = body.instructions();
    match name {
        "call_kernel" => {
            let (kernel, args, task) = (0, 1, 2);
            code.local_get(args).local_get(task).local_get(kernel);
            code.call_indirect(kernel_table(runtime), kernel_type(runtime));
        }
        "steps" => drop(code.i32_const(layout.steps as i32)),
        "step_count" => drop(code.i32_const(layout.step_count as i32)),
        "heap_base" => drop(code.i32_const(layout.heap_base as i32)),
        "wait" => {
            let (address, expected, microseconds) = (0, 1, 2);
            code.local_get(address).local_get(expected);
            code.local_get(microseconds).i64_extend_i32_u().i64_const(1000).i64_mul();
            code.memory_atomic_wait32(WORD).drop();
        }
        "notify" => {
            let (address, count) = (0, 1);
            code.local_get(address).local_get(count).memory_atomic_notify(WORD).drop();
        }
        "arena_base" => drop(code.global_get(arena_base_global(runtime))),
        "set_arena_base" => drop(code.local_get(0).global_set(arena_base_global(runtime))),
        "set_stack_pointer" => {
            let global = runtime.stack_pointer.ok_or_else(|| LinkError::Runtime("it exports no __stack_pointer".into()))?;
            code.local_get(0).global_set(global);
        }
        _ => return Err(LinkError::Runtime(format!("nothing is known of {}.{name}", abi::LINK_MODULE))),
    }
    code.end();
    Ok(body)
}
