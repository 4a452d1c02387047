//! Execution of an algorithm, element by element: the check that an operator's lowering says the same as its meaning.
//! Sums run in `f64` (integers: 64 bits, wrapping). It shares the scalar functions with `eval`, and nothing else.

use super::recurrent::interpret_recurrent;
use super::{Access, Affine, Algorithm, Axis, Combine, Contract, Epilogue, Gather, Map, Reduce, Shuffle, Window};
use crate::dim::{Dim, const_dims};
use crate::dtype::{Class, DType, Element, highest, lowest};
use crate::for_dtype;
use crate::graph::TensorType;
use crate::ops::contract::sum_type;
use crate::ops::map::scalar::{cast, splat};
use crate::ops::map::{Arith, eval_pointwise};
use crate::pointwise::{Fn, Pointwise};
use crate::tensor::{Tensor, indices, strides};

/// What is wrong with an algorithm, or why it cannot be executed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InterpretError {
    #[error("the size {0} is not a number")]
    Symbolic(Dim),
    #[error("index {index:?} of operand {operand} lies outside {shape:?}")]
    ReadOutside { operand: usize, index: Vec<i64>, shape: Vec<usize> },
    #[error("index {index:?} lies outside the output {shape:?}")]
    WriteOutside { index: Vec<i64>, shape: Vec<usize> },
    #[error("element {0} of the output is written twice")]
    WrittenTwice(usize),
    #[error("element {0} of the output is not written")]
    NotWritten(usize),
    #[error("`{0}` is a routine, not a nest")]
    Routine(&'static str),
    #[error("control flow is not a nest")]
    Control,
    #[error("{0}")]
    Scalar(String),
    #[error("the output has type {stated}, the algorithm gives {found}")]
    OutputType { stated: DType, found: DType },
}

type Result<T> = std::result::Result<T, InterpretError>;

/// The output of an algorithm of an operator whose output has this type, epilogue included.
pub fn interpret(algorithm: &Algorithm, inputs: &[&Tensor], output: &TensorType) -> Result<Tensor> {
    let mut out = Out::new(output)?;
    match algorithm {
        Algorithm::Map(nest) => map(nest, inputs, &mut out)?,
        Algorithm::Contract(nest) => contract(nest, inputs, &mut out)?,
        Algorithm::Window(nest) => window(nest, inputs, &mut out)?,
        Algorithm::Reduce(nest) => reduce(nest, inputs, &mut out)?,
        Algorithm::Shuffle(nest) => shuffle(nest, inputs, &mut out)?,
        Algorithm::Gather(nest) => gather(nest, inputs, &mut out)?,
        Algorithm::Recurrent(nest) => return Ok(cast(&interpret_recurrent(nest, inputs)?[0], output.dtype)),
        // Its code is the meaning's: there is nothing to compare.
        Algorithm::Routine(routine) => return Err(InterpretError::Routine(routine.name)),
        Algorithm::Control => return Err(InterpretError::Control),
        Algorithm::View | Algorithm::Measure(_) => return Ok(inputs[0].clone().reshaped(&out.tensor.shape)),
        Algorithm::Sizes(dims) => {
            for (i, size) in numbers(dims)?.into_iter().enumerate() {
                out.write(&[i as i64], &Tensor::scalar(size as i64))?;
            }
        }
    }
    out.finish()
}

/// The output: each element is to be written once.
struct Out {
    tensor: Tensor,
    written: Vec<bool>,
}

impl Out {
    fn new(ty: &TensorType) -> Result<Out> {
        let tensor = Tensor::zeros(ty.dtype, &numbers(&ty.shape)?);
        Ok(Out { written: vec![false; tensor.len()], tensor })
    }

    fn write(&mut self, index: &[i64], value: &Tensor) -> Result<()> {
        let shape = &self.tensor.shape;
        let Some(at) = position(index, shape) else {
            return Err(InterpretError::WriteOutside { index: index.to_vec(), shape: shape.clone() });
        };
        if value.dtype != self.tensor.dtype {
            return Err(InterpretError::OutputType { stated: self.tensor.dtype, found: value.dtype });
        }
        if std::mem::replace(&mut self.written[at], true) {
            return Err(InterpretError::WrittenTwice(at));
        }
        let size = value.dtype.bytes();
        self.tensor.bytes_mut()[at * size..][..size].copy_from_slice(value.bytes());
        Ok(())
    }

    fn finish(self) -> Result<Tensor> {
        match self.written.iter().position(|w| !w) {
            Some(missing) => Err(InterpretError::NotWritten(missing)),
            None => Ok(self.tensor),
        }
    }
}

fn numbers(dims: &[Dim]) -> Result<Vec<usize>> {
    const_dims(dims).ok_or_else(|| InterpretError::Symbolic(dims.iter().find(|d| !d.is_const()).unwrap_or(&dims[0]).clone()))
}

/// Row-major position of an index, if it lies inside the shape.
fn position(index: &[i64], shape: &[usize]) -> Option<usize> {
    let inside = index.len() == shape.len() && index.iter().zip(shape).all(|(i, d)| (0..*d as i64).contains(i));
    inside.then(|| index.iter().zip(strides(shape)).map(|(i, s)| *i as usize * s).sum())
}

fn at(affine: &[Affine], index: &[usize]) -> Result<Vec<i64>> {
    affine.iter().map(|a| a.at(index).ok_or_else(|| InterpretError::Symbolic(a.offset.clone()))).collect()
}

/// One element, as a tensor of rank 0.
fn read(access: &Access, inputs: &[&Tensor], index: &[usize]) -> Result<Tensor> {
    read_at(access, inputs, at(&access.index, index)?)
}

fn read_at(access: &Access, inputs: &[&Tensor], index: Vec<i64>) -> Result<Tensor> {
    let tensor = inputs[access.operand];
    if let Some(at) = position(&index, &tensor.shape) {
        let size = tensor.dtype.bytes();
        return Ok(Tensor::from_bytes(tensor.dtype, &[], &tensor.bytes()[at * size..][..size]).expect("one element"));
    }
    match access.pad {
        Some(pad) => Ok(splat(pad, tensor.dtype, &[])),
        None => Err(InterpretError::ReadOutside { operand: access.operand, index, shape: tensor.shape.clone() }),
    }
}

fn apply(body: &Pointwise, args: &[&Tensor]) -> Result<Tensor> {
    eval_pointwise(body, args, &[]).map_err(|e| InterpretError::Scalar(e.to_string()))
}

fn epilogue(epilogue: &Epilogue, result: Tensor, inputs: &[&Tensor], index: &[usize]) -> Result<Tensor> {
    let operands: Vec<Tensor> = epilogue.operands.iter().map(|a| read(a, inputs, index)).collect::<Result<_>>()?;
    let args: Vec<&Tensor> = std::iter::once(&result).chain(&operands).collect();
    apply(&epilogue.body, &args)
}

/// Axes in the output's index, and the others.
fn split(axes: &[Dim], out: &[Affine]) -> (Vec<Axis>, Vec<Axis>) {
    (0..axes.len()).partition(|a| out.iter().any(|o| o.coefficient(*a) != 0))
}

/// Every setting of some axes; the others stay 0.
fn settings(extents: &[usize], chosen: &[Axis]) -> impl Iterator<Item = Vec<usize>> {
    let (rank, chosen) = (extents.len(), chosen.to_vec());
    let shape: Vec<usize> = chosen.iter().map(|a| extents[*a]).collect();
    indices(&shape).map(move |index| {
        let mut full = vec![0; rank];
        chosen.iter().zip(index).for_each(|(a, i)| full[*a] = i);
        full
    })
}

/// Sum of two settings of disjoint axes.
fn join(a: &[usize], b: &[usize]) -> Vec<usize> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

/// The widest type of a class, in which groups combine.
fn wide(dtype: DType) -> DType {
    match dtype.class() {
        Class::Float => DType::F64,
        Class::Signed => DType::I64,
        Class::Unsigned => DType::U64,
        Class::Bool => DType::Bool,
    }
}

fn neutral(combine: Combine, dtype: DType) -> Tensor {
    for_dtype!(dtype, T => Tensor::scalar(match combine {
        Combine::Sum => T::from_i64(0),
        Combine::Product => T::from_i64(1),
        Combine::Min => highest::<T>(),
        Combine::Max => lowest::<T>(),
    }))
}

fn combine(combine: Combine, a: &Tensor, b: &Tensor) -> Tensor {
    let f = match combine {
        Combine::Sum => Fn::Add,
        Combine::Product => Fn::Mul,
        Combine::Min => Fn::Min,
        Combine::Max => Fn::Max,
    };
    binary(f, a, b)
}

fn binary(f: Fn, a: &Tensor, b: &Tensor) -> Tensor {
    for_dtype!(a.dtype, T => Tensor::scalar(<T as Arith>::apply(f, &[a.as_slice::<T>()[0], b.as_slice::<T>()[0]])))
}

fn map(nest: &Map, inputs: &[&Tensor], out: &mut Out) -> Result<()> {
    for index in indices(&numbers(&nest.axes)?) {
        let operands: Vec<Tensor> = nest.operands.iter().map(|a| read(a, inputs, &index)).collect::<Result<_>>()?;
        let value = apply(&nest.body, &operands.iter().collect::<Vec<_>>())?;
        out.write(&index.iter().map(|i| *i as i64).collect::<Vec<_>>(), &value)?;
    }
    Ok(())
}

fn sum_of(operands: [&Access; 2], inputs: &[&Tensor]) -> DType {
    let [a, b] = operands.map(|access| inputs[access.operand].dtype);
    sum_type(a, b).expect("the operator has checked its operands")
}

fn contract(nest: &Contract, inputs: &[&Tensor], out: &mut Out) -> Result<()> {
    let extents = numbers(&nest.axes)?;
    let (parallel, reduced) = split(&nest.axes, &nest.out);
    let dtype = sum_of([&nest.a, &nest.b], inputs);
    for place in settings(&extents, &parallel) {
        let mut sum = neutral(Combine::Sum, wide(dtype));
        for step in settings(&extents, &reduced) {
            let index = join(&place, &step);
            let a = cast(&read(&nest.a, inputs, &index)?, wide(dtype));
            let b = cast(&read(&nest.b, inputs, &index)?, wide(dtype));
            sum = combine(Combine::Sum, &sum, &binary(Fn::Mul, &a, &b));
        }
        let value = epilogue(&nest.epilogue, cast(&sum, dtype), inputs, &place)?;
        out.write(&at(&nest.out, &place)?, &value)?;
    }
    Ok(())
}

fn window(nest: &Window, inputs: &[&Tensor], out: &mut Out) -> Result<()> {
    let extents = numbers(&nest.axes)?;
    let (parallel, reduced) = split(&nest.axes, &nest.out);
    let dtype = nest.w.as_ref().map_or(inputs[nest.x.operand].dtype, |w| sum_of([&nest.x, w], inputs));
    for place in settings(&extents, &parallel) {
        let mut result = cast(&neutral(nest.combine, dtype), wide(dtype));
        for tap in settings(&extents, &reduced) {
            let index = join(&place, &tap);
            let mut x = cast(&read(&nest.x, inputs, &index)?, wide(dtype));
            if let Some(w) = &nest.w {
                x = binary(Fn::Mul, &x, &cast(&read(w, inputs, &index)?, wide(dtype)));
            }
            result = combine(nest.combine, &result, &x);
        }
        let value = epilogue(&nest.epilogue, cast(&result, dtype), inputs, &place)?;
        out.write(&at(&nest.out, &place)?, &value)?;
    }
    Ok(())
}

fn reduce(nest: &Reduce, inputs: &[&Tensor], out: &mut Out) -> Result<()> {
    let extents = numbers(&nest.axes)?;
    let (reduced, parallel): (Vec<Axis>, Vec<Axis>) = (0..extents.len()).partition(|a| nest.reduced.contains(a));
    let dtype = inputs[nest.x.operand].dtype;
    let element = |index: &[usize]| read(&nest.x, inputs, index).map(|x| cast(&x, wide(dtype)));
    for group in settings(&extents, &parallel) {
        let mut results: Vec<Tensor> = vec![];
        for stage in &nest.stages {
            let mut result = cast(&neutral(stage.combine, dtype), wide(dtype));
            for member in settings(&extents, &reduced) {
                let x = element(&join(&group, &member))?;
                let args: Vec<&Tensor> = std::iter::once(&x).chain(&results).collect();
                result = combine(stage.combine, &result, &apply(&stage.body, &args)?);
            }
            results.push(result);
        }
        let mut finish = |first: &Tensor, index: &[usize]| {
            let args: Vec<&Tensor> = std::iter::once(first).chain(&results).collect();
            let value = cast(&apply(&nest.finish, &args)?, dtype);
            out.write(&at(&nest.out, index)?, &epilogue(&nest.epilogue, value, inputs, index)?)
        };
        if nest.per_group {
            finish(&results[results.len() - 1], &group)?;
        } else {
            for member in settings(&extents, &reduced) {
                let index = join(&group, &member);
                finish(&element(&index)?, &index)?;
            }
        }
    }
    Ok(())
}

fn shuffle(nest: &Shuffle, inputs: &[&Tensor], out: &mut Out) -> Result<()> {
    for piece in &nest.pieces {
        let start = numbers(&piece.start)?;
        for index in indices(&numbers(&piece.extent)?) {
            let place: Vec<i64> = join(&start, &index).into_iter().map(|i| i as i64).collect();
            out.write(&place, &read(&piece.read, inputs, &index)?)?;
        }
    }
    Ok(())
}

fn gather(nest: &Gather, inputs: &[&Tensor], out: &mut Out) -> Result<()> {
    let size = inputs[nest.data.operand].shape[nest.dim] as i64;
    for index in indices(&numbers(&nest.axes)?) {
        let pick = read(&nest.indices, inputs, &index)?.to_i64s()[0];
        let mut from = at(&nest.data.index, &index)?;
        from[nest.dim] = if pick < 0 { pick + size } else { pick };
        let value = read_at(&nest.data, inputs, from)?;
        out.write(&index.iter().map(|i| *i as i64).collect::<Vec<_>>(), &value)?;
    }
    Ok(())
}
