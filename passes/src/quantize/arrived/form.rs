//! The forms in which quantised models state grids: chains of maps of one function each, as the importer writes
//! `QuantizeLinear` and `DequantizeLinear`, with constants behind casts and reshapes.

use ir::ops::Op;
use ir::pointwise::{Fn, Operand};
use ir::{DType, Graph, Node, Tensor, ValueId};
use std::collections::HashMap;
use std::sync::Arc;

/// Values that depend on constants only. Tensors larger than the limit are looked at where they are constants, not
/// computed.
#[derive(Default)]
pub struct Known(HashMap<ValueId, Option<Arc<Tensor>>>);

/// Elements of a parameter that is computed here: as many as channels, or blocks.
const LIMIT: usize = 1 << 16;

impl Known {
    pub fn of(&mut self, graph: &Graph, value: ValueId) -> Option<Arc<Tensor>> {
        if let Some(tensor) = graph.constant(value) {
            return Some(tensor.clone());
        }
        if let Some(found) = self.0.get(&value) {
            return found.clone();
        }
        let computed = self.computed(graph, value);
        self.0.insert(value, computed.clone());
        computed
    }

    fn computed(&mut self, graph: &Graph, value: ValueId) -> Option<Arc<Tensor>> {
        let node = graph.node(graph.producer(value)?);
        let small = graph.ty(value).const_shape()?.iter().product::<usize>() <= LIMIT;
        let cheap = matches!(node.op, Op::Map(_) | Op::Reshape(_) | Op::Transpose(_) | Op::Expand(_) | Op::Slice(_));
        if !small || !cheap || node.inputs.is_empty() {
            return None;
        }
        let inputs: Vec<Arc<Tensor>> = node.inputs.clone().into_iter().map(|v| self.of(graph, v)).collect::<Option<_>>()?;
        let inputs: Vec<&Tensor> = inputs.iter().map(|t| &**t).collect();
        node.op.eval(&inputs).ok()?.into_iter().next().map(Arc::new)
    }

    /// The one number that an operand is.
    fn number(&mut self, graph: &Graph, node: &Node, operand: Operand) -> Option<f32> {
        match operand {
            Operand::Literal(literal) => Some(literal.to_f64() as f32),
            Operand::Arg(i) => {
                let tensor = self.of(graph, node.inputs[i])?;
                (tensor.len() == 1).then(|| tensor.get_f64(0) as f32)
            }
            Operand::Step(_) => None,
        }
    }
}

/// The only function of a map.
fn function(graph: &Graph, value: ValueId) -> Option<(Fn, &[Operand], &Node)> {
    let node = graph.node(graph.producer(value)?);
    match &node.op {
        Op::Map(map) => match &map.body.steps[..] {
            [step] => Some((step.f, &step.operands, node)),
            _ => None,
        },
        _ => None,
    }
}

fn argument(node: &Node, operand: Operand) -> Option<ValueId> {
    match operand {
        Operand::Arg(i) => Some(node.inputs[i]),
        _ => None,
    }
}

/// Real numbers `(elements − zero) · scale`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dequantized {
    pub elements: ValueId,
    pub zero: i32,
    pub scale: f32,
}

/// Elements of 8 bits with one scale, which no constant are.
pub fn dequantized(graph: &Graph, known: &mut Known, value: ValueId) -> Option<Dequantized> {
    let (elements, zero, scale) = parts(graph, known, value)?;
    let small = matches!(graph.ty(elements).dtype, DType::U8 | DType::I8) && graph.constant(elements).is_none();
    let zero = match zero {
        Some(zero) if zero.len() == 1 => zero.get_f64(0) as i32,
        None => 0,
        _ => return None,
    };
    (small && scale.len() == 1 && graph.ty(value).dtype == DType::F32).then(|| Dequantized {
        elements,
        zero,
        scale: scale.get_f64(0) as f32,
    })
}

/// Elements, zero point and scale of `mul(sub(cast_f32(q), zero), scale)`.
pub fn parts(graph: &Graph, known: &mut Known, value: ValueId) -> Option<(ValueId, Option<Arc<Tensor>>, Arc<Tensor>)> {
    let (Fn::Mul, [centred, scale], node) = function(graph, value)? else { return None };
    let scale = known.of(graph, argument(node, *scale)?)?;
    let centred = argument(node, *centred)?;
    let is_cast = |value: ValueId| match function(graph, value) {
        Some((Fn::Cast(DType::F32), [x], node)) => argument(node, *x),
        _ => None,
    };
    if let Some(elements) = is_cast(centred) {
        return Some((elements, None, scale));
    }
    let (Fn::Sub, [x, zero], node) = function(graph, centred)? else { return None };
    let zero = known.of(graph, argument(node, *zero)?)?;
    Some((is_cast(argument(node, *x)?)?, Some(zero), scale))
}

/// `cast(clamp(round(steps) + zero, low, high))`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quantized {
    /// Real numbers divided by the scale.
    pub steps: ValueId,
    pub zero: i32,
    pub low: i32,
    pub high: i32,
}

/// The rounding to 8 bits that ends in a value.
pub fn quantized(graph: &Graph, known: &mut Known, value: ValueId) -> Option<Quantized> {
    let (Fn::Cast(DType::U8 | DType::I8), [x], node) = function(graph, value)? else { return None };
    let (Fn::Clamp, [x, low, high], node) = function(graph, argument(node, *x)?)? else { return None };
    let [low, high] = [known.number(graph, node, *low)?, known.number(graph, node, *high)?].map(|x| x as i32);
    let (mut at, mut zero) = (argument(node, *x)?, 0);
    if let Some((Fn::Add, [x, by], node)) = function(graph, at) {
        (at, zero) = (argument(node, *x)?, known.number(graph, node, *by)? as i32);
    }
    let (Fn::Round, [x], node) = function(graph, at)? else { return None };
    Some(Quantized { steps: argument(node, *x)?, zero, low, high })
}

/// Real numbers divided by a scale: the numbers and the scale.
pub fn divided(graph: &Graph, known: &mut Known, steps: ValueId) -> Option<(ValueId, f32)> {
    let (Fn::Div, [x, scale], node) = function(graph, steps)? else { return None };
    Some((argument(node, *x)?, known.number(graph, node, *scale)?))
}

/// The bounds that an activation sets: of `relu` and `clamp`, as numbers.
pub fn bounds(graph: &Graph, known: &mut Known, value: ValueId) -> Option<(ValueId, f32, f32)> {
    let (f, operands, node) = function(graph, value)?;
    let mut number = |i: usize| known.number(graph, node, operands[i]);
    let (low, high) = match f {
        Fn::Relu => (0.0, f32::INFINITY),
        Fn::Clamp => (number(1)?, number(2)?),
        Fn::Max => (number(1)?, f32::INFINITY),
        Fn::Min => (f32::NEG_INFINITY, number(1)?),
        _ => return None,
    };
    Some((argument(node, operands[0])?, low, high))
}

/// A sum with a constant: the other operand and the constant.
pub fn biased(graph: &Graph, known: &mut Known, value: ValueId) -> Option<(ValueId, Arc<Tensor>)> {
    let (Fn::Add, [a, b], node) = function(graph, value)? else { return None };
    let [a, b] = [argument(node, *a)?, argument(node, *b)?];
    match (known.of(graph, a), known.of(graph, b)) {
        (None, Some(bias)) => Some((a, bias)),
        (Some(bias), None) => Some((b, bias)),
        _ => None,
    }
}

/// The elements that a node would only make anew: real numbers of a grid are rounded to the same grid.
pub fn same_elements(graph: &Graph, known: &mut Known, reals: &HashMap<ValueId, Dequantized>, node: &Node) -> Option<ValueId> {
    let result = *node.outputs.first()?;
    let grid = quantized(graph, known, result)?;
    let (x, scale) = divided(graph, known, grid.steps)?;
    let real = reals.get(&x)?;
    let whole = match graph.ty(result).dtype {
        DType::U8 => (0, 255),
        _ => (-128, 127),
    };
    let same = real.scale == scale && real.zero == grid.zero && (grid.low, grid.high) == whole;
    (same && graph.ty(real.elements).dtype == graph.ty(result).dtype).then_some(real.elements)
}
