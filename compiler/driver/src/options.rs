//! The options of an export: one documented struct, from which the command line, other languages' keywords and the JSON
//! form follow, and the configuration it resolves to. It reads only the arrays that `bind` names.

use crate::quantize::QuantizeOptions;
use crate::{Error, PRODUCER, npz};
use onnx::{Binding, ImportOptions};
use passes::Level;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// What fixes a model's inputs; the same for every command that reads an ONNX file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, clap::Args)]
#[serde(default)]
pub struct ModelOptions {
    /// Give a symbolic dimension its size, or bounds within which it stays free; may be repeated
    #[arg(long = "dim", value_name = "NAME=N|LOW..HIGH")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dims: Vec<DimOption>,
    /// Make an input a constant: a number, numbers separated by commas, or an .npy file; may be repeated
    #[arg(long = "bind", value_name = "INPUT=VALUE")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bind: Vec<BindOption>,
}

/// Options of an export. Every field may be left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, clap::Args)]
#[serde(default)]
pub struct ExportOptions {
    /// Optimisation level: 0 imports and verifies; 1 folds constants and drops dead code; 2 (the default) adds every
    /// algebraically exact fusion and the channels-last layout; 3 may change rounding within the stated tolerance
    #[arg(short = 'O', value_name = "LEVEL", value_parser = level, help_heading = "Optimisation")]
    #[serde(skip_serializing_if = "Option::is_none", with = "level_name")]
    pub level: Option<Level>,
    #[command(flatten)]
    #[serde(flatten)]
    pub model: ModelOptions,
    /// Run these passes only, whatever the level
    #[arg(long, value_name = "PASS,…", value_delimiter = ',', help_heading = "Optimisation")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passes: Option<Vec<String>>,
    /// Leave passes out; may be repeated
    #[arg(long = "disable-pass", value_name = "PASS", value_delimiter = ',', help_heading = "Optimisation")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub disable_passes: Vec<String>,
    /// Say where a rule fired, and where it did not and why
    #[arg(long, value_name = "RULE", help_heading = "Optimisation")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explain: Option<String>,
    /// Evaluate the model before and after every pass and compare; slow
    #[arg(long, help_heading = "Optimisation")]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub check_passes: bool,
    /// At -O3: most memory, in MiB, for weights while they are transformed for faster 3x3 convolutions (without it: 4); layers
    /// that need more are computed directly
    #[arg(long, value_name = "MIB", help_heading = "Optimisation")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_budget_mb: Option<u32>,
    /// Use the measured register tiles of a file that `--tune` wrote
    #[arg(long, value_name = "FILE.json", help_heading = "Optimisation")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<PathBuf>,
    #[command(flatten)]
    #[serde(flatten)]
    pub quantize: QuantizeOptions,
    /// Keep a tensor in the module between runs: this output is what the input is in the next run, zeros at first; may be
    /// repeated
    #[arg(long = "state", value_name = "OUTPUT=INPUT", help_heading = "Module")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub states: Vec<StateOption>,
    /// How far the run-time memory pools may grow, in MiB
    #[arg(long, value_name = "MIB", help_heading = "Module")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool_mb: Option<u32>,
    /// Which code the module holds: all, or a list of baseline, relaxed, threads and relaxed+threads; one alone makes a
    /// plain module of that kind
    #[arg(long, value_name = "all|NAME,…", value_delimiter = ',', value_parser = variant, help_heading = "Module")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variants: Option<Vec<String>>,
    /// Write the weights to files of so many MiB (16 by default) beside the module
    #[arg(long, value_name = "CHUNK_MB", num_args = 0..=1, require_equals = true, default_missing_value = "16",
          value_parser = clap::value_parser!(u32).range(1..=1024), help_heading = "Module")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_weights: Option<u32>,
    /// Write compressed copies (.br and .gz) beside the module
    #[arg(long, help_heading = "Module")]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub precompress: bool,
    /// Run Binaryen's wasm-opt on the code, if it is on the PATH
    #[arg(long, help_heading = "Module")]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub wasm_opt: bool,
    /// Write TypeScript types of the inputs and outputs (.d.ts) beside the module
    #[arg(long, help_heading = "Module")]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub types: bool,
    /// Keep function names in the module, for profilers and disassemblers
    #[arg(long, help_heading = "Module")]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub debug_names: bool,
}

/// Options resolved: what each stage is told.
#[derive(Debug, Clone)]
pub struct Config {
    pub import: ImportOptions,
    pub passes: passes::Options,
    pub lower: lower::Options,
    pub link: link::LinkInfo,
}

impl ModelOptions {
    /// Reads the arrays that `bind` names.
    pub fn resolve(&self) -> Result<ImportOptions, Error> {
        let bound = self.dims.iter().filter(|dim| dim.least.is_none());
        let dims = bound.map(|dim| (dim.name.clone(), dim.size)).collect();
        let free =
            self.dims.iter().filter_map(|dim| Some((dim.name.clone(), ir::Bound { min: dim.least?, max: Some(dim.size) }))).collect();
        let bind_inputs = self.bind.iter().map(BindOption::resolve).collect::<Result<_, _>>()?;
        Ok(ImportOptions { dims, free, bind_inputs, ..ImportOptions::default() })
    }
}

impl ExportOptions {
    pub fn resolve(&self) -> Result<Config, Error> {
        let passes = passes::Options {
            level: self.level.unwrap_or_default(),
            only: self.passes.clone(),
            disabled: self.disable_passes.clone(),
            explain: self.explain.clone(),
            weights: self.quantize.weights.map(Into::into),
            check: self.check_passes.then(passes::CheckOptions::default),
            ..passes::Options::default()
        };
        let mut link = link::LinkInfo { producer: PRODUCER.into(), debug_names: self.debug_names, ..link::LinkInfo::default() };
        link.pool_mb = self.pool_mb.unwrap_or(link.pool_mb);
        link.options = self.manifest_options();
        link.variants = self.kinds()?;
        link.external_weights = self.external_weights.map(|chunk_mb| link::External { stem: "model".into(), chunk_mb });
        // Both round differently, which only O3 allows.
        let lower = lower::Options {
            winograd: self.level == Some(Level::O3),
            fast_math: self.level == Some(Level::O3),
            halves: self.quantize.weights == Some(crate::quantize::options::WeightOption::F16),
            winograd_budget: self.memory_budget_mb.map(|mb| u64::from(mb) << 20),
            states: self.states.iter().map(|state| (state.output.clone(), state.input.clone())).collect(),
            schedule: self.schedule.as_deref().map(crate::tune::read).transpose()?.unwrap_or_default(),
            ..lower::Options::default()
        };
        // What is stored in fewer bits may fit after all; the linker says whether it does.
        let smaller = self.quantize.quantize.is_some() || self.quantize.weights.is_some();
        let max_constant_bytes = (!smaller).then_some(link::MAX_WEIGHT_BYTES);
        let import = ImportOptions { batch: Some(1), max_constant_bytes, ..self.model.resolve()? };
        Ok(Config { import, passes, lower, link })
    }

    /// The kinds of code that are asked for.
    fn kinds(&self) -> Result<Vec<link::Kind>, Error> {
        let Some(names) = self.variants.as_ref().filter(|names| !names.iter().any(|name| name == ALL)) else {
            return Ok(link::Kind::ALL.to_vec());
        };
        names.iter().map(|name| name.parse().map_err(Error::Usage)).collect()
    }

    /// What shaped the module, without paths: the manifest is the same on every machine.
    fn manifest_options(&self) -> Vec<(String, String)> {
        let mut options = vec![("level".to_string(), self.level.unwrap_or_default().to_string())];
        let mut add = |name: &str, values: Vec<String>| {
            if !values.is_empty() {
                options.push((name.into(), values.join(",")));
            }
        };
        add("dim", self.model.dims.iter().map(ToString::to_string).collect());
        add("bind", self.model.bind.iter().map(BindOption::without_path).collect());
        add("state", self.states.iter().map(ToString::to_string).collect());
        if let Some(passes) = &self.passes {
            add("passes", passes.clone());
        }
        add("disable_pass", self.disable_passes.clone());
        add("quantize", self.quantize.quantize.iter().map(|q| q.name()).collect());
        add("weights", self.quantize.weights.iter().map(|w| format!("{w:?}").to_lowercase()).collect());
        add("memory_budget_mb", self.memory_budget_mb.iter().map(ToString::to_string).collect());
        options
    }
}

/// Stands for every variant.
const ALL: &str = "all";

fn variant(text: &str) -> Result<String, String> {
    if text == ALL { Ok(text.into()) } else { text.parse::<link::Kind>().map(|kind| kind.to_string()) }
}

fn level(text: &str) -> Result<Level, String> {
    text.parse().map_err(|_| "there are the levels 0, 1, 2 and 3".to_string())
}

/// Levels as JSON: `"O2"`.
mod level_name {
    use passes::Level;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(level: &Option<Level>, serializer: S) -> Result<S::Ok, S::Error> {
        match level {
            Some(level) => serializer.collect_str(level),
            None => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Level>, D::Error> {
        let text: Option<String> = Option::deserialize(deserializer)?;
        text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
    }
}

/// `NAME=N` or `NAME=LOW..HIGH`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DimOption {
    pub name: String,
    /// The size, or the largest one.
    pub size: i64,
    /// The smallest size of a dimension that stays free.
    pub least: Option<i64>,
}

impl DimOption {
    /// A dimension of one size.
    pub fn bound(name: impl Into<String>, size: i64) -> DimOption {
        DimOption { name: name.into(), size, least: None }
    }
}

impl FromStr for DimOption {
    type Err = String;
    fn from_str(text: &str) -> Result<DimOption, String> {
        let (name, size) = name_and_value(text, "batch=1")?;
        let number = |text: &str| match text.parse() {
            Ok(size) if size >= 0 => Ok(size),
            _ => Err(format!("`{text}` is not a size; give a whole number, e.g. `{name}=1`, or bounds, e.g. `{name}=1..512`")),
        };
        let (least, most) = match size.split_once("..") {
            Some((least, most)) => (Some(number(least)?), most.strip_prefix('=').unwrap_or(most)),
            None => (None, size),
        };
        Ok(DimOption { name: name.into(), size: number(most)?, least })
    }
}

impl std::fmt::Display for DimOption {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self.least {
            Some(least) => write!(f, "{}={least}..{}", self.name, self.size),
            None => write!(f, "{}={}", self.name, self.size),
        }
    }
}

/// `INPUT=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BindOption {
    pub input: String,
    /// Numbers separated by commas, or the path of an `.npy` file.
    pub value: String,
}

impl BindOption {
    fn numbers(&self) -> Option<Vec<f64>> {
        self.value.split(',').map(|n| n.trim().parse().ok()).collect()
    }

    fn resolve(&self) -> Result<(String, Binding), Error> {
        let binding = match self.numbers() {
            Some(numbers) => Binding::Numbers(numbers),
            None if self.value.ends_with(".npy") => Binding::Tensor(npz::read_npy(Path::new(&self.value))?),
            None => {
                let what = format!("the value `{}` of the input `{}` is neither numbers nor an .npy file", self.value, self.input);
                return Err(Error::Usage(format!("{what}\nhint: for example --bind {0}=1.5 or --bind {0}=value.npy", self.input)));
            }
        };
        Ok((self.input.clone(), binding))
    }

    fn without_path(&self) -> String {
        if self.numbers().is_some() { self.to_string() } else { self.input.clone() }
    }
}

impl FromStr for BindOption {
    type Err = String;
    fn from_str(text: &str) -> Result<BindOption, String> {
        let (input, value) = name_and_value(text, "scale=1.5")?;
        Ok(BindOption { input: input.into(), value: value.into() })
    }
}

impl std::fmt::Display for BindOption {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{}={}", self.input, self.value)
    }
}

/// An output and the input that it is in the next run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StateOption {
    pub output: String,
    pub input: String,
}

impl FromStr for StateOption {
    type Err = String;
    fn from_str(text: &str) -> Result<StateOption, String> {
        let (output, input) = name_and_value(text, "hidden_out=hidden")?;
        Ok(StateOption { output: output.into(), input: input.into() })
    }
}

impl std::fmt::Display for StateOption {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{}={}", self.output, self.input)
    }
}

/// Splits at the last `=`: names may hold one, sizes and most values do not.
fn name_and_value<'a>(text: &'a str, example: &str) -> Result<(&'a str, &'a str), String> {
    match text.rsplit_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => Ok((name, value)),
        _ => Err(format!("`{text}` is not of the form NAME=VALUE, e.g. `{example}`")),
    }
}

macro_rules! string_forms {
    ($($name:ident),*) => {$(
        impl TryFrom<String> for $name {
            type Error = String;
            fn try_from(text: String) -> Result<$name, String> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(option: $name) -> String {
                option.to_string()
            }
        }
    )*};
}
string_forms!(DimOption, BindOption, StateOption);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_form_is_the_command_lines() {
        let json = r#"{"level":"O3","dims":["batch=1"],"bind":["scale=0.5,2"],"disable_passes":["nhwc_layout"]}"#;
        let options: ExportOptions = serde_json::from_str(json).unwrap();
        assert_eq!(options.level, Some(Level::O3));
        assert_eq!(options.model.dims, [DimOption::bound("batch", 1)]);
        assert_eq!(serde_json::to_string(&options).unwrap(), json);
        assert_eq!(serde_json::from_str::<ExportOptions>("{}").unwrap(), ExportOptions::default());
        assert!(serde_json::from_str::<ExportOptions>(r#"{"dims":["batch=-1"]}"#).is_err());
    }

    #[test]
    fn manifests_name_no_paths() {
        let model = ModelOptions {
            dims: vec!["a=b=3".parse().unwrap()],
            bind: vec!["scale=0.5".parse().unwrap(), "mask=/home/me/mask.npy".parse().unwrap()],
        };
        let options = ExportOptions { model, passes: Some(vec!["share_common".into()]), ..ExportOptions::default() };
        let shown: Vec<String> = options.manifest_options().into_iter().map(|(name, value)| format!("{name}: {value}")).collect();
        assert_eq!(shown, ["level: O2", "dim: a=b=3", "bind: scale=0.5,mask", "passes: share_common"]);
    }

    #[test]
    fn values_are_numbers_or_arrays() {
        let resolve = |text: &str| BindOption::from_str(text).unwrap().resolve();
        assert!(matches!(resolve("x=1, -2.5e3").unwrap(), (name, Binding::Numbers(n)) if name == "x" && n == [1.0, -2500.0]));
        assert!(resolve("x=yes").unwrap_err().to_string().contains("hint: for example --bind x=1.5"));
        assert!(resolve("x=none.npy").unwrap_err().to_string().contains("none.npy"));
        assert!(BindOption::from_str("x").is_err() && DimOption::from_str("=1").is_err());
    }
}
