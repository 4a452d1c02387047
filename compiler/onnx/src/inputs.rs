//! What the caller decides about a model's inputs: sizes of symbolic dimensions and values that become constants.

use crate::error::{Fault, Kind, Problem, invalid};
use crate::proto::tensor_shape_proto::dimension::Value as DimValue;
use crate::proto::type_proto::Value as TypeValue;
use crate::proto::{TypeProto, ValueInfoProto};
use crate::tensor::dtype;
use ir::{Bound, Dim, Symbols, Tensor, TensorType};
use std::path::PathBuf;

/// Decisions at import; the default decides nothing.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// Sizes of symbolic dimensions, by name.
    pub dims: Vec<(String, i64)>,
    /// Bounds of symbolic dimensions that stay free, by name.
    pub free: Vec<(String, Bound)>,
    /// The size of dimensions of inputs that are named like a batch and occur in neither list; `None`: they stay free.
    pub batch: Option<i64>,
    /// Inputs that become constants, by name.
    pub bind_inputs: Vec<(String, Binding)>,
    /// Directory of external data; for files by default the model's own.
    pub base_dir: Option<PathBuf>,
    /// Most bytes that all constants together may have. Checked before any is read.
    pub max_constant_bytes: Option<u64>,
}

/// A value for an input.
#[derive(Debug, Clone)]
pub enum Binding {
    /// Converted to the input's type: one number fills it, otherwise as many as it has elements.
    Numbers(Vec<f64>),
    Tensor(Tensor),
}

/// Sizes beyond this are mistakes, and would overflow products.
const DIM_LIMIT: i64 = 1 << 40;

/// What becomes of symbolic dimensions.
#[derive(Debug, Clone, Default)]
pub(crate) struct Choices {
    sizes: Vec<(String, i64)>,
    free: Vec<(String, Bound)>,
}

impl Choices {
    /// Also says which dimensions were taken for batches.
    pub fn new(options: &ImportOptions, inputs: &[&ValueInfoProto]) -> (Choices, Vec<String>) {
        let mut choices = Choices { sizes: options.dims.clone(), free: options.free.clone() };
        let mut batches = vec![];
        if let Some(size) = options.batch {
            for name in inputs.iter().flat_map(|i| dim_names(i)).filter(|n| is_batch(n)) {
                if choices.size(&name).is_none() && choices.bound(&name).is_none() {
                    choices.sizes.push((name.clone(), size));
                    batches.push(name);
                }
            }
        }
        (choices, batches)
    }

    fn size(&self, name: &str) -> Option<i64> {
        self.sizes.iter().find(|(given, _)| given == name || identifier(given) == name).map(|(_, size)| *size)
    }

    fn bound(&self, name: &str) -> Option<Bound> {
        self.free.iter().find(|(given, _)| given == name || identifier(given) == name).map(|(_, bound)| *bound)
    }

    fn given(&self) -> impl Iterator<Item = (&String, Bound)> {
        let sizes = self.sizes.iter().map(|(name, size)| (name, Bound { min: *size, max: Some(*size) }));
        sizes.chain(self.free.iter().map(|(name, bound)| (name, *bound)))
    }
}

/// Whether a dimension's name says that it counts independent examples.
fn is_batch(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.contains("batch") || ["n", "b", "bs"].contains(&name.as_str())
}

/// The type of a graph input. Named dimensions become symbols unless `choices` binds them; unnamed unknown ones are named
/// `input_0`, after the input and the position.
pub(crate) fn input_type(info: &ValueInfoProto, choices: &Choices, symbols: &mut Symbols) -> Result<TensorType, Fault> {
    let Some(TypeProto { value: Some(value), .. }) = &info.r#type else { invalid!("the input has no type") };
    let tensor = match value {
        TypeValue::TensorType(tensor) => tensor,
        TypeValue::SequenceType(_) => return Err(kind_fault("sequence")),
        TypeValue::MapType(_) => return Err(kind_fault("map")),
        TypeValue::OptionalType(_) => return Err(kind_fault("optional")),
        TypeValue::SparseTensorType(_) => return Err(kind_fault("sparse tensor")),
        TypeValue::OpaqueType(_) => return Err(kind_fault("opaque value")),
    };
    let dtype = dtype(tensor.elem_type())?;
    let Some(shape) = &tensor.shape else {
        return Err(Fault::unsupported("the input has no shape, not even a rank").hint("export the model with static shapes or named dims"));
    };
    let mut sizes = vec![];
    for (i, dim) in shape.dim.iter().enumerate() {
        let name = match &dim.value {
            Some(DimValue::DimValue(n)) if (0..=DIM_LIMIT).contains(n) => {
                sizes.push(Dim::from(*n));
                continue;
            }
            // Some exporters write -1 for an unknown size.
            Some(DimValue::DimValue(-1)) | None => format!("{}_{i}", info.name()),
            Some(DimValue::DimValue(n)) => invalid!("dimension {i} cannot have the size {n}"),
            Some(DimValue::DimParam(name)) if name.is_empty() => format!("{}_{i}", info.name()),
            Some(DimValue::DimParam(name)) => name.clone(),
        };
        let symbol = identifier(&name);
        match choices.size(&symbol) {
            Some(size) => sizes.push(size.into()),
            None => {
                let bound = choices.bound(&symbol).unwrap_or(Bound { min: 1, max: None });
                symbols.entry(symbol.as_str().into()).or_insert(bound);
                sizes.push(Dim::symbol(&symbol));
            }
        }
    }
    Ok(TensorType { dtype, shape: sizes })
}

fn kind_fault(what: &str) -> Fault {
    Fault::unsupported(format!("the input is a {what}; only tensors are supported"))
}

/// Names of the symbolic dimensions of an input, as `--dim` takes them.
pub(crate) fn dim_names(info: &ValueInfoProto) -> Vec<String> {
    let Some(TypeProto { value: Some(TypeValue::TensorType(tensor)), .. }) = &info.r#type else { return vec![] };
    let dims = tensor.shape.iter().flat_map(|s| &s.dim).enumerate();
    let names = dims.filter_map(|(i, dim)| match &dim.value {
        Some(DimValue::DimValue(n)) if *n != -1 => None,
        Some(DimValue::DimParam(name)) if !name.is_empty() => Some(identifier(name)),
        _ => Some(identifier(&format!("{}_{i}", info.name()))),
    });
    names.collect()
}

/// A name that the graph's text form can hold: letters, digits and `_`, not beginning with a digit.
fn identifier(name: &str) -> String {
    let mut id: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if !id.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        id.insert(0, '_');
    }
    id
}

/// Checks the choices against the names that the inputs have.
pub(crate) fn check_dims(choices: &Choices, inputs: &[&ValueInfoProto]) -> Vec<Problem> {
    let known: Vec<String> = inputs.iter().flat_map(|i| dim_names(i)).collect();
    let mut problems = vec![];
    for (name, bound) in choices.given() {
        if !known.contains(&identifier(name)) {
            let mut listed = known.clone();
            listed.dedup();
            let hint = if known.is_empty() {
                "all its sizes are fixed already".into()
            } else {
                format!("its symbolic dimensions are: {}", listed.join(", "))
            };
            problems.push(Problem::model(Kind::Option, format!("no input has a dimension named `{name}`"), hint));
        }
        let most = bound.max.unwrap_or(i64::MAX);
        // What stays free may be empty at times: the past of the first call.
        let least = i64::from(bound.max == Some(bound.min));
        if let Some(size) = [(bound.min, least), (most, 1)].into_iter().find(|(size, least)| !(*least..=DIM_LIMIT).contains(size)) {
            let size = size.0;
            problems.push(Problem::model(Kind::Option, format!("dimension `{name}` cannot have the size {size}"), "sizes are at least 1"));
        }
        if bound.min > most {
            let sentence = format!("the range {}..{most} of dimension `{name}` is empty", bound.min);
            problems.push(Problem::model(Kind::Option, sentence, "the smaller size comes first"));
        }
    }
    problems
}

/// The constant that replaces an input.
pub(crate) fn bound_value(ty: &TensorType, binding: &Binding) -> Result<Tensor, Fault> {
    let unknown = || Fault::run_time("shape").hint("bind the symbolic dimensions of this input too: `--dim NAME=N`");
    match binding {
        Binding::Numbers(numbers) => {
            const LIMIT: usize = 1 << 30;
            let shape = ty.const_shape().ok_or_else(unknown)?;
            let elements = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d)).filter(|n| *n <= LIMIT);
            match (elements, numbers.len()) {
                (Some(_), 1) => Ok(Tensor::from_fn(ty.dtype, &shape, |_| numbers[0])),
                (Some(n), given) if n == given => Ok(Tensor::from_fn(ty.dtype, &shape, |i| numbers[i])),
                (_, given) => invalid!("the input {ty} cannot be bound to {given} numbers"),
            }
        }
        Binding::Tensor(tensor) => {
            let found = TensorType::of(tensor);
            let fits = found.rank() == ty.rank() && ty.shape.iter().zip(&found.shape).all(|(d, f)| !d.is_const() || d == f);
            if found.dtype != ty.dtype || !fits {
                invalid!("the input {ty} cannot be bound to {found}");
            }
            Ok(tensor.clone())
        }
    }
}
