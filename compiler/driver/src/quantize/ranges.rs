//! `ranges.json`: what calibration found, readable, kept and used again. The file belongs to one model; it says nothing
//! about weights.

use crate::Error;
use crate::error::read_file;
use passes::quantize::{Observed, Settings};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const VERSION: u32 = 1;

/// The contents of the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RangesFile {
    pub version: u32,
    /// Name of the graph.
    pub model: String,
    /// How many samples were seen.
    pub samples: usize,
    /// How the ranges were chosen.
    pub method: String,
    /// Layers that stay f32.
    #[serde(default)]
    pub keep: BTreeSet<String>,
    /// By name of the tensor.
    pub tensors: BTreeMap<String, Observed>,
}

impl RangesFile {
    pub fn new(model: &str, samples: usize, method: &str, settings: &Settings) -> RangesFile {
        let (keep, tensors) = (settings.keep.clone(), settings.ranges.clone());
        RangesFile { version: VERSION, model: model.into(), samples, method: method.into(), keep, tensors }
    }

    /// One line per tensor.
    pub fn to_text(&self) -> Result<String, Error> {
        let mut text = format!("{{\n  \"version\": {},\n  \"model\": {},\n", self.version, serde_json::to_string(&self.model)?);
        text += &format!("  \"samples\": {},\n  \"method\": {},\n", self.samples, serde_json::to_string(&self.method)?);
        if !self.keep.is_empty() {
            text += &format!("  \"keep\": {},\n", serde_json::to_string(&self.keep)?);
        }
        text += "  \"tensors\": {";
        for (i, (name, observed)) in self.tensors.iter().enumerate() {
            text +=
                &format!("{}\n    {}: {}", if i > 0 { "," } else { "" }, serde_json::to_string(name)?, serde_json::to_string(observed)?);
        }
        Ok(text + "\n  }\n}\n")
    }

    pub fn read(path: &Path) -> Result<RangesFile, Error> {
        let bad = |what: String| Error::Usage(format!("{}: {what}\nhint: make it anew: --calibrate DATA --ranges FILE", path.display()));
        let file: RangesFile =
            serde_json::from_slice(&read_file(path)?).map_err(|error| bad(format!("this is no file of ranges: {error}")))?;
        if file.version != VERSION {
            return Err(bad(format!("the file has version {}, this program reads {VERSION}", file.version)));
        }
        for (name, observed) in &file.tensors {
            if !(observed.low.is_finite() && observed.high.is_finite() && observed.low <= 0.0 && observed.high >= 0.0) {
                return Err(bad(format!("the range of `{name}`, {} to {}, is none that holds 0", observed.low, observed.high)));
            }
        }
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use passes::quantize::Scheme;

    #[test]
    fn what_is_written_can_be_read() {
        let observed = Observed { low: -0.5, high: 2.25, channels: None };
        let settings = Settings {
            scheme: Scheme::Static,
            ranges: BTreeMap::from([("a \"b\"".to_string(), observed)]),
            feedback: BTreeMap::new(),
            keep: BTreeSet::from(["c".to_string()]),
        };
        let file = RangesFile::new("m", 3, "mse", &settings);
        let text = file.to_text().unwrap();
        assert!(text.contains("    \"a \\\"b\\\"\": {\"low\":-0.5,\"high\":2.25}\n"), "{text}");
        let path = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(path.path(), &text).unwrap();
        assert_eq!(RangesFile::read(path.path()).unwrap(), file);
        std::fs::write(path.path(), text.replace("-0.5", "0.5")).unwrap();
        assert!(RangesFile::read(path.path()).unwrap_err().to_string().contains("is none that holds 0"));
        std::fs::write(path.path(), "[]").unwrap();
        assert!(RangesFile::read(path.path()).unwrap_err().to_string().contains("no file of ranges"));
    }
}
