//! What says which outputs are right: the model's definition, another program that reads ONNX, or recorded arrays. It
//! runs no module and compares nothing.

use crate::npz::{self, Arrays};
use crate::{Error, ModelOptions, NamedTensor};
use abi::manifest::Manifest;
use ir::{Graph, Tensor};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Which oracle; on the command line `eval`, `tract` or the name of an `.npz` file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Against {
    #[default]
    Eval,
    Tract,
    Recorded(PathBuf),
}

/// Why an oracle does not answer.
#[derive(Debug, thiserror::Error)]
pub enum OracleError {
    #[error(
        "`--against tract` needs the feature `tract`, which this program was built without\n\
         hint: build it with: cargo install --path compiler/driver --features tract"
    )]
    NotBuilt,
    #[error("it is tract that refuses this model: it has no operator {}{HINT}", .0.join(", "))]
    Operators(Vec<String>),
    #[error("it is tract that refuses this model, {doing}: {reason}{HINT}")]
    Refused { doing: &'static str, reason: String },
}

const HINT: &str = "\nhint: compare with the model's definition: --against eval";

/// An oracle for one model.
pub enum Oracle {
    /// The model as imported, without passes, evaluated operator by operator.
    Eval(Graph),
    #[cfg(feature = "tract")]
    Tract(crate::tract::Model),
    Recorded {
        path: PathBuf,
        outputs: Vec<NamedTensor>,
    },
}

impl Oracle {
    /// Reads what the oracle needs. `manifest` is the module's; a recorded oracle does not read the model.
    pub fn open(against: &Against, model: &Path, options: &ModelOptions, manifest: &Manifest) -> Result<Oracle, Error> {
        match against {
            Against::Eval => Ok(Oracle::Eval(crate::export::import(model, &options.resolve()?)?.graph)),
            #[cfg(feature = "tract")]
            Against::Tract => Ok(Oracle::Tract(crate::tract::Model::load(model, &options.resolve()?)?)),
            #[cfg(not(feature = "tract"))]
            Against::Tract => Err(OracleError::NotBuilt.into()),
            Against::Recorded(path) => Ok(Oracle::Recorded { path: path.clone(), outputs: recorded(path, manifest)? }),
        }
    }

    /// The outputs that belong to `inputs`, which the module takes.
    pub fn outputs(&mut self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, Error> {
        match self {
            Oracle::Eval(graph) => {
                let ordered: Result<Vec<Tensor>, Error> =
                    graph.inputs.iter().map(|id| given(&graph.value(*id).name, inputs).cloned()).collect();
                let outputs = ir::eval::eval(graph, &ordered?)?;
                Ok(graph.outputs.iter().zip(outputs).map(|(output, tensor)| NamedTensor::new(&output.name, tensor)).collect())
            }
            #[cfg(feature = "tract")]
            Oracle::Tract(model) => model.outputs(inputs),
            Oracle::Recorded { outputs, .. } => Ok(outputs.clone()),
        }
    }
}

impl fmt::Display for Oracle {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Oracle::Eval(_) => f.write_str("the model"),
            #[cfg(feature = "tract")]
            Oracle::Tract(_) => f.write_str("tract"),
            Oracle::Recorded { path, .. } => write!(f, "{}", path.display()),
        }
    }
}

/// The tensor for the model's input `name`.
pub(crate) fn given<'a>(name: &str, inputs: &'a [NamedTensor]) -> Result<&'a Tensor, Error> {
    inputs.iter().find(|i| i.name == name).map(|i| &i.tensor).ok_or_else(|| {
        let sentence = format!("the model has the input `{name}`, which the module does not take");
        Error::Usage(format!("{sentence}\nhint: if it was bound at export, bind it again: --bind {name}=VALUE"))
    })
}

/// The arrays of a file that are outputs of the module: keys `output:NAME` or `NAME`.
fn recorded(path: &Path, manifest: &Manifest) -> Result<Vec<NamedTensor>, Error> {
    let arrays = match npz::read(path)? {
        Arrays::Many(arrays) => arrays,
        Arrays::One(_) => return Err(Error::Usage(format!("{}: outputs are recorded in an .npz file, this is one array", path.display()))),
    };
    let keys: Vec<String> = arrays.iter().map(|a| a.name.clone()).collect();
    let marked = keys.iter().any(|k| k.starts_with(npz::OUTPUT));
    let outputs: Vec<NamedTensor> = arrays
        .into_iter()
        .filter_map(|array| match array.name.strip_prefix(npz::OUTPUT) {
            Some(name) => Some(NamedTensor::new(name, array.tensor)),
            None => (!marked && manifest.outputs.iter().any(|o| o.name == array.name)).then_some(array),
        })
        .collect();
    if outputs.is_empty() {
        let names: Vec<&str> = manifest.outputs.iter().map(|o| o.name.as_str()).collect();
        let found = if keys.is_empty() { "no arrays".into() } else { keys.join(", ") };
        let sentence = format!("{} holds none of the model's outputs ({})", path.display(), names.join(", "));
        return Err(Error::Usage(format!("{sentence}\nhint: it holds {found}; keys are `output:NAME` or `NAME`")));
    }
    Ok(outputs)
}

impl FromStr for Against {
    type Err = String;
    fn from_str(text: &str) -> Result<Against, String> {
        match text {
            "eval" => Ok(Against::Eval),
            "tract" => Ok(Against::Tract),
            file if file.ends_with(".npz") => Ok(Against::Recorded(file.into())),
            _ => Err("give eval, tract or an .npz file".into()),
        }
    }
}

impl fmt::Display for Against {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Against::Eval => f.write_str("eval"),
            Against::Tract => f.write_str("tract"),
            Against::Recorded(path) => write!(f, "{}", path.display()),
        }
    }
}
