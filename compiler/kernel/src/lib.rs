//! How a loop nest becomes a wasm function: instruction table, IR, typed builder, printer, interpreter, verifier, emitter
//! and SIMD math. It knows no tensors, no layers and no models.
//!
//! A kernel is written with [`K`], then verified, interpreted, printed or emitted:
//!
//! ```
//! use kernel::{F32x4, K, load, max_nan, verify};
//!
//! // y[i] = relu(x[i]) for 16 floats.
//! let mut k = K::new("relu_f32_n16");
//! let (x, y) = (k.arena("x"), k.arena("y"));
//! let zero = k.constant(0.0);
//! k.for_("i", 0, 64, 16, |k, i| {
//!     k.store(y + i, 0, max_nan(load::<F32x4>(x + i, 0), zero));
//! });
//! let kernel = k.finish();
//! verify(&kernel).unwrap();
//! assert!(kernel.to_string().contains("for i in 0..64 step 16"));
//! ```

mod builder;
mod emit;
mod eval;
mod fold;
mod instr;
mod interp;
mod ir;
pub mod lanes;
pub mod math;
pub mod math64;
pub mod ops;
mod print;
mod sizes;
mod table;
mod typed;
mod verify;

pub use builder::K;
pub use emit::{EmitCx, EmitError, EmittedFunction, emit, emit_standalone_module};
pub use eval::{RelaxedDot, RelaxedSemantics, eval_load, eval_op, eval_store};
pub use instr::{Feature, Features, Imm, ImmKind, Instr, LoadOp, Signature, StoreOp};
pub use interp::{CallHandler, Interp, InterpError, InterpFault, Watch};
pub use ir::*;
pub use ops::*;
pub use sizes::Sizes;
pub use typed::*;
pub use verify::{Fault, VerifyError, verify};
