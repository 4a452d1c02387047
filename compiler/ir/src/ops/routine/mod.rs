//! Operators whose code is a routine: plain Rust in the crate `routines`, run natively by `eval` and as wasm by the module.
//! A file holds the operators of one family: their attributes, types, and how the attributes become a routine's numbers.

use crate::algorithm::Algorithm;
use crate::algorithm::routine::Routine;
use crate::dim::{Dim, const_dims};
use crate::dtype::{Class, DType};
use crate::graph::TensorType;
use crate::ops::{Arity, OpDef, OpError};
use crate::tensor::Tensor;
use crate::{attr_enum, op_error};

pub mod check;
pub mod detect;
pub mod dynamic;
pub mod pool;
pub mod random;
pub mod sample;
pub mod scatter;
pub mod select;

/// What an operator that is a routine provides.
pub trait RoutineDef {
    /// The routine's name, which is the operator's.
    const NAME: &'static str;
    /// Output 0 is input 0; the routine gets the other inputs and checks them.
    const PASSES: bool = false;
    fn inputs(&self) -> usize;
    fn types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError>;
    /// The routine's integers, when all sizes are known.
    fn ints(&self) -> Vec<i64> {
        vec![]
    }
    fn floats(&self) -> Vec<f64> {
        vec![]
    }
}

impl<T: RoutineDef> OpDef for T {
    fn arity(&self) -> Arity {
        Arity::Exactly(self.inputs())
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        self.types(inputs)
    }

    fn eval(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>, OpError> {
        let types: Vec<TensorType> = inputs.iter().map(|t| TensorType::of(t)).collect();
        let types = self.types(&types.iter().collect::<Vec<_>>())?;
        if Self::PASSES {
            run(Self::NAME, &inputs[1..], &[], &self.ints(), &self.floats())?;
            return Ok(vec![inputs[0].clone()]);
        }
        run(Self::NAME, inputs, &types, &self.ints(), &self.floats())
    }

    fn algorithm(&self, _inputs: &[&TensorType], _output: &TensorType) -> Algorithm {
        Algorithm::Routine(Routine { name: Self::NAME, ints: self.ints(), floats: self.floats(), passes: Self::PASSES })
    }

    fn sizes(&self, known: &[Option<&[Dim]>], _types: &[&TensorType]) -> Option<Vec<Dim>> {
        known.first().filter(|_| Self::PASSES)?.map(<[Dim]>::to_vec)
    }
}

attr_enum! {
    /// How updates of one place combine.
    pub enum Reduction {
        None = "none",
        Add = "add",
        Mul = "mul",
        Min = "min",
        Max = "max",
    }
}

/// The element type as routines know it.
pub fn routine_dtype(dtype: DType) -> routines::DType {
    match (dtype, dtype.class()) {
        (DType::F16, _) => routines::DType::F16,
        (DType::F32, _) => routines::DType::F32,
        (DType::F64, _) => routines::DType::F64,
        (DType::BF16, _) => routines::DType::BF16,
        (DType::Bool, _) => routines::DType::BOOL,
        (_, Class::Signed) => routines::DType::signed(dtype.bytes()),
        // Other formats are only moved.
        _ => routines::DType::unsigned(dtype.bytes()),
    }
}

/// Runs a routine natively.
pub fn run(name: &str, inputs: &[&Tensor], outputs: &[TensorType], ints: &[i64], floats: &[f64]) -> Result<Vec<Tensor>, OpError> {
    let Some(routine) = routines::find(name) else { op_error!("there is no routine `{name}`") };
    let mut results = vec![];
    for ty in outputs {
        let Some(shape) = ty.const_shape() else { op_error!("{name}: the sizes of the result {ty} are not known") };
        results.push(Tensor::zeros(ty.dtype, &shape));
    }
    let dims = |shape: &[usize]| shape.iter().map(|d| *d as u32).collect::<Vec<u32>>();
    let input_dims: Vec<Vec<u32>> = inputs.iter().map(|t| dims(&t.shape)).collect();
    let output_dims: Vec<Vec<u32>> = results.iter().map(|t| dims(&t.shape)).collect();
    let input_shapes: Vec<&[usize]> = inputs.iter().map(|t| &t.shape[..]).collect();
    let output_shapes: Vec<Vec<usize>> = results.iter().map(|t| t.shape.clone()).collect();
    let output_shapes: Vec<&[usize]> = output_shapes.iter().map(|s| &s[..]).collect();
    let words = (routine.scratch)(&routines::Shapes { inputs: &input_shapes, outputs: &output_shapes, ints });
    let mut scratch = vec![0u64; words];
    let mut views = results.iter_mut().zip(&output_dims).map(|(t, shape)| {
        let dtype = routine_dtype(t.dtype);
        routines::TensorMut { dtype, shape, bytes: t.bytes_mut() }
    });
    let mut call = routines::Call {
        inputs: std::array::from_fn(|i| match inputs.get(i) {
            Some(t) => routines::Tensor { dtype: routine_dtype(t.dtype), shape: &input_dims[i], bytes: t.bytes() },
            None => routines::Tensor::EMPTY,
        }),
        outputs: std::array::from_fn(|_| {
            views.next().unwrap_or(routines::TensorMut { dtype: routines::DType::F32, shape: &[], bytes: &mut [] })
        }),
        ints,
        floats,
        scratch: &mut scratch,
    };
    let done = (routine.run)(&mut call);
    drop(views);
    match done {
        Ok(()) => Ok(results),
        Err(failure) => op_error!("{name}: {} ({})", failure.status.text(), failure.detail as i32),
    }
}

/// Sizes as numbers; unknown ones are −1, which no routine is run with.
pub(crate) fn numbers(dims: &[Dim]) -> Vec<i64> {
    const_dims(dims).map_or_else(|| vec![-1; dims.len()], |dims| dims.into_iter().map(|d| d as i64).collect())
}

/// The one size that an attribute holds.
pub(crate) fn one(name: &str, dims: &[Dim]) -> Result<Dim, OpError> {
    match dims {
        [dim] => Ok(dim.clone()),
        _ => op_error!("{name}: one size is needed, found {dims:?}"),
    }
}

/// Checks that an axis lies in 0..rank.
pub(crate) fn in_rank(name: &str, axis: i64, x: &TensorType) -> Result<usize, OpError> {
    match usize::try_from(axis) {
        Ok(axis) if axis < x.rank() => Ok(axis),
        _ => op_error!("{name}: axis {axis} is out of range for {x}"),
    }
}

/// Checks that a tensor holds integers.
pub(crate) fn integers(name: &str, t: &TensorType) -> Result<(), OpError> {
    if t.dtype.is_int() { Ok(()) } else { op_error!("{name} needs integers, found {t}") }
}

pub(crate) fn floats(name: &str, t: &TensorType) -> Result<(), OpError> {
    if t.dtype.is_float() { Ok(()) } else { op_error!("{name} needs floating-point elements, found {t}") }
}

/// Checks ranks; `usize::MAX` is any.
pub(crate) fn ranks(name: &str, inputs: &[&TensorType], expected: &[usize]) -> Result<(), OpError> {
    for (i, (t, rank)) in inputs.iter().zip(expected).enumerate() {
        if *rank != usize::MAX && t.rank() != *rank {
            op_error!("{name}: input {} must have rank {rank}, found {t}", i + 1);
        }
    }
    Ok(())
}

/// Most dimensions of the tensors of routines that walk indices in a fixed list.
pub(crate) const RANK: usize = 8;

pub(crate) fn walkable(name: &str, t: &TensorType) -> Result<(), OpError> {
    if t.rank() <= RANK { Ok(()) } else { op_error!("{name} takes at most {RANK} dimensions, found {t}") }
}
