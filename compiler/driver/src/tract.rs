//! tract as an oracle: it reads the ONNX file itself, so that nothing of our importer, graph or evaluator takes part.
//! Only built with the feature `tract`. Not a way to compile models.

use crate::error::read_file;
use crate::oracle::{OracleError, given};
use crate::{Error, NamedTensor};
use ir::{DType, Tensor};
use onnx::{Binding, ImportOptions};
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use tract_onnx::prelude::{
    DatumType, Framework, InferenceFact, InferenceModel, InferenceModelExt, IntoRunnable, TDim, TValue, TractError, TractResult,
    TypedSimplePlan, tvec,
};
use tract_onnx::tract_core::ops::konst::Const;
use tract_onnx::tract_hir::infer::Factoid;
use tract_onnx::tract_hir::ops::unimpl::UnimplementedOp;

/// A model in tract's hands.
pub struct Model {
    model: InferenceModel,
    outputs: Vec<String>,
    /// The plan for the last types and shapes of inputs, when their values play no part in it.
    plan: Option<(Vec<(DType, Vec<usize>)>, Arc<TypedSimplePlan>)>,
}

/// Element types that both have, stored alike.
const TYPES: &[(DType, DatumType)] = &[
    (DType::F32, DatumType::F32),
    (DType::F64, DatumType::F64),
    (DType::F16, DatumType::F16),
    (DType::I8, DatumType::I8),
    (DType::I16, DatumType::I16),
    (DType::I32, DatumType::I32),
    (DType::I64, DatumType::I64),
    (DType::U8, DatumType::U8),
    (DType::U16, DatumType::U16),
    (DType::U32, DatumType::U32),
    (DType::U64, DatumType::U64),
    (DType::Bool, DatumType::Bool),
];

impl Model {
    /// Loads the file; dimensions get their sizes and inputs their constants from `options`.
    pub fn load(path: &Path, options: &ImportOptions) -> Result<Model, Error> {
        let bytes = read_file(path)?;
        // Intermediate shapes of the file speak of symbols; what tract infers from the inputs is exact.
        let onnx = tract_onnx::onnx().with_ignore_value_info(true);
        let directory = options.base_dir.as_deref().or(path.parent()).and_then(Path::to_str);
        let (mut model, outputs) = asking("reading the file", || {
            let proto = onnx.proto_model_for_read(&mut bytes.as_slice())?;
            let outputs = proto.graph.iter().flat_map(|g| &g.output).map(|o| o.name.clone()).collect();
            Ok((onnx.parse(&proto, directory)?.model, outputs))
        })?;
        let mut unknown: Vec<String> = model.nodes().iter().filter_map(unknown_operator).collect();
        unknown.sort();
        unknown.dedup();
        if !unknown.is_empty() {
            return Err(OracleError::Operators(unknown).into());
        }
        let sizes: HashMap<_, _> = options.dims.iter().map(|(name, size)| (model.symbols.sym(name), TDim::from(*size))).collect();
        asking("giving dimensions their sizes", || model.set_symbols(&sizes))?;
        let mut model = Model { model, outputs, plan: None };
        for (name, binding) in &options.bind_inputs {
            model.bind(name, binding)?;
        }
        Ok(model)
    }

    /// Runs tract on `inputs`.
    pub fn outputs(&mut self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, Error> {
        let names: Vec<String> = self.inputs().into_iter().map(|(name, _)| name).collect();
        let given: Vec<&Tensor> = names.iter().map(|name| given(name, inputs)).collect::<Result<_, _>>()?;
        let found = match self.plan(&given)? {
            Some(plan) => {
                let values = given.iter().map(|tensor| Ok(TValue::from(to_tract(tensor)?))).collect::<Result<_, OracleError>>()?;
                asking("running it", || plan.run(values))?.into_vec()
            }
            None => self.with_constants(&names, &given)?,
        };
        let outputs = self.outputs.iter().zip(&found);
        Ok(outputs.map(|(name, value)| Ok(NamedTensor::new(name, from_tract(value)?))).collect::<Result<_, OracleError>>()?)
    }

    /// Names and places of the inputs that are left.
    fn inputs(&self) -> Vec<(String, usize)> {
        self.model.inputs.iter().map(|outlet| (self.model.node(outlet.node).name.clone(), outlet.node)).collect()
    }

    /// A plan for the types and shapes of `inputs`; `None` when tract needs the values of the integers among them.
    fn plan(&mut self, inputs: &[&Tensor]) -> Result<Option<Arc<TypedSimplePlan>>, Error> {
        let signature: Vec<(DType, Vec<usize>)> = inputs.iter().map(|t| (t.dtype, t.shape.clone())).collect();
        if let Some((_, plan)) = self.plan.as_ref().filter(|(planned, _)| *planned == signature) {
            return Ok(Some(plan.clone()));
        }
        let mut model = self.model.clone();
        for (i, tensor) in inputs.iter().enumerate() {
            let fact = InferenceFact::dt_shape(datum_type(tensor.dtype)?, &*tensor.shape);
            asking("giving an input its shape", || model.set_input_fact(i, fact))?;
        }
        match asking(PLANNING, || model.into_optimized()?.into_runnable()) {
            Ok(plan) => {
                self.plan = Some((signature, plan.clone()));
                Ok(Some(plan))
            }
            Err(_) if inputs.iter().any(|t| decides_shapes(t)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Runs a model of which shapes, axes or counts are inputs: these become constants.
    fn with_constants(&self, names: &[String], inputs: &[&Tensor]) -> Result<Vec<TValue>, Error> {
        let mut bound = Model { model: self.model.clone(), outputs: self.outputs.clone(), plan: None };
        let mut rest = vec![];
        for (name, tensor) in names.iter().zip(inputs) {
            if decides_shapes(tensor) {
                bound.fix(name, tensor)?;
            } else {
                rest.push(*tensor);
            }
        }
        let mut values = tvec![];
        for (i, tensor) in rest.into_iter().enumerate() {
            let fact = InferenceFact::dt_shape(datum_type(tensor.dtype)?, &*tensor.shape);
            asking("giving an input its shape", || bound.model.set_input_fact(i, fact))?;
            values.push(TValue::from(to_tract(tensor)?));
        }
        let plan = asking(PLANNING, || bound.model.into_optimized()?.into_runnable())?;
        Ok(asking("running it", || plan.run(values))?.into_vec())
    }

    /// Makes an input the constant that `--bind` gives.
    fn bind(&mut self, name: &str, binding: &Binding) -> Result<(), Error> {
        let tensor = match binding {
            Binding::Tensor(tensor) => tensor.clone(),
            Binding::Numbers(numbers) => {
                let fact = self.inputs().iter().find(|(n, _)| n == name).map(|(_, node)| self.model.node(*node).outputs[0].fact.clone());
                let dtype = fact.as_ref().and_then(|f| f.datum_type.concretize()).and_then(dtype);
                let shape = fact.and_then(|f| f.shape.as_concrete_finite().ok().flatten());
                let fits = |shape: &[usize]| numbers.len() == 1 || numbers.len() == shape.iter().product::<usize>();
                let Some((dtype, shape)) = dtype.zip(shape).filter(|(_, shape)| fits(shape)) else {
                    let sentence = format!("the input `{name}` cannot be bound to {} numbers for tract", numbers.len());
                    return Err(Error::Usage(format!("{sentence}\nhint: give an array: --bind {name}=VALUE.npy")));
                };
                Tensor::from_fn(dtype, &shape, |i| numbers[i % numbers.len()])
            }
        };
        self.fix(name, &tensor)
    }

    /// Replaces the input `name` by a constant; an input that does not exist was a constant of the file.
    fn fix(&mut self, name: &str, tensor: &Tensor) -> Result<(), Error> {
        let Some((_, id)) = self.inputs().into_iter().find(|(n, _)| n == name) else { return Ok(()) };
        let value = Arc::new(to_tract(tensor)?);
        let constant = asking("making an input a constant", || Const::new(value.clone()))?;
        let node = self.model.node_mut(id);
        node.outputs[0].fact = InferenceFact::dt_shape(value.datum_type(), value.shape());
        node.op = Box::new(constant);
        self.model.inputs.retain(|outlet| outlet.node != id);
        Ok(())
    }
}

const PLANNING: &str = "inferring shapes and planning";

/// Whether an input may be a shape, axes or a count.
fn decides_shapes(tensor: &Tensor) -> bool {
    tensor.dtype.is_int() && tensor.rank() <= 1
}

type Node = tract_onnx::tract_hir::infer::InferenceNode;

/// Name of an operator that tract lacks.
fn unknown_operator(node: &Node) -> Option<String> {
    node.op_as::<UnimplementedOp>()?;
    let name = node.op().name().to_string();
    Some(name.strip_prefix("Unimplemented(").and_then(|n| n.strip_suffix(')')).unwrap_or(&name).to_string())
}

/// Calls tract. A panic in there is a refusal too, and not a bug of the compiler.
fn asking<T>(doing: &'static str, call: impl FnOnce() -> TractResult<T>) -> Result<T, OracleError> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let result = std::panic::catch_unwind(AssertUnwindSafe(call));
    std::panic::set_hook(hook);
    let reason = match result {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => reason(&error),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
            format!("it panicked: {}", text.unwrap_or_else(|| "no message".into()))
        }
    };
    Err(OracleError::Refused { doing, reason })
}

/// The causes of an error on one line; tract shows whole nodes in some.
fn reason(error: &TractError) -> String {
    const LONGEST: usize = 160;
    let cut = |cause: String| match cause.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &cause[..end]),
        None => cause,
    };
    let causes = error.chain().map(|cause| cut(cause.to_string().lines().next().unwrap_or_default().to_string()));
    causes.collect::<Vec<_>>().join(": ")
}

fn dtype(datum: DatumType) -> Option<DType> {
    TYPES.iter().find(|(_, d)| *d == datum).map(|(dtype, _)| *dtype)
}

fn datum_type(dtype: DType) -> Result<DatumType, OracleError> {
    let row = TYPES.iter().find(|(d, _)| *d == dtype);
    row.map(|(_, datum)| *datum).ok_or_else(|| no_type("taking an input", &dtype.to_string()))
}

fn no_type(doing: &'static str, name: &str) -> OracleError {
    OracleError::Refused { doing, reason: format!("it and we share no element type {name}") }
}

fn to_tract(tensor: &Tensor) -> Result<tract_onnx::prelude::Tensor, OracleError> {
    let datum = datum_type(tensor.dtype)?;
    asking("taking an input", || {
        let mut copy = tract_onnx::prelude::Tensor::zero_dt(datum, &tensor.shape)?;
        copy.as_bytes_mut().copy_from_slice(tensor.bytes());
        if datum == DatumType::Bool {
            copy.as_bytes_mut().iter_mut().for_each(|b| *b = u8::from(*b != 0));
        }
        Ok(copy)
    })
}

fn from_tract(value: &tract_onnx::prelude::Tensor) -> Result<Tensor, OracleError> {
    const DOING: &str = "giving an output";
    // Sizes are a type of their own in tract.
    let plain = match value.datum_type() {
        DatumType::TDim => asking(DOING, || Ok(value.cast_to_dt(DatumType::I64)?.into_owned()))?,
        _ => value.clone(),
    };
    let unshared = || no_type(DOING, &format!("{:?}", plain.datum_type()));
    Tensor::from_bytes(dtype(plain.datum_type()).ok_or_else(unshared)?, plain.shape(), plain.as_bytes()).ok_or_else(unshared)
}
