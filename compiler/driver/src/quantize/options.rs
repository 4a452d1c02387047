//! The options of quantisation, as the command line and the JSON form have them.

use super::histogram::Method;
use super::images::Preprocess;
use super::measure::Accuracy;
use crate::{Config, Error};
use passes::Level;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What becomes of activations and weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// Whole networks on 8-bit integers, with ranges from calibration data
    Int8Static,
    /// Matrix products on 8-bit integers whose ranges are found at run time, row by row; needs no data
    Int8Dynamic,
    /// As int8-static; layers that hurt the accuracy stay f32
    Mixed,
}

impl Target {
    pub fn name(self) -> String {
        clap::ValueEnum::to_possible_value(&self).map(|v| v.get_name().to_string()).unwrap_or_default()
    }
}

/// How weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum WeightOption {
    /// Half the bytes
    F16,
    /// A quarter of the bytes, with a scale per output channel
    Int8,
    /// About a seventh of the bytes, with a scale for every 32 weights of a channel
    Int4,
}

impl From<WeightOption> for passes::WeightType {
    fn from(option: WeightOption) -> passes::WeightType {
        match option {
            WeightOption::F16 => passes::WeightType::F16,
            WeightOption::Int8 => passes::WeightType::Int8,
            WeightOption::Int4 => passes::WeightType::Int4,
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, clap::Args)]
#[serde(default)]
pub struct QuantizeOptions {
    /// Make layers with 8-bit integers: int8-static (whole networks; needs --calibrate), int8-dynamic (matrix products, row
    /// by row; needs no data) or mixed (as int8-static; layers that hurt the accuracy stay f32)
    #[arg(long, value_enum, hide_possible_values = true, value_name = "SCHEME", help_heading = "Quantisation")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantize: Option<Target>,
    /// Samples that show which numbers occur: an .npz or .npy file (arrays of the inputs' names, samples stacked), a PNG or
    /// JPEG file, or a folder of such files. One sample of four is held back and measures the result
    #[arg(long, value_name = "DATA", help_heading = "Quantisation")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibrate: Option<PathBuf>,
    /// What has to be reached on the held-back samples: a part of 1 [default for mixed: 0.99]
    #[arg(long, value_name = "PART", help_heading = "Quantisation")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_accuracy: Option<f64>,
    /// What the accuracy is: agreement (rows of the first output whose largest element is at the same place) or cosine
    /// [default: agreement where that output is a matrix, else cosine]
    #[arg(long, value_enum, hide_possible_values = true, value_name = "KIND", help_heading = "Quantisation")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<Accuracy>,
    /// The most megabytes that the constants may take
    #[arg(long, value_name = "MB", help_heading = "Quantisation")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_size_mb: Option<f64>,
    /// Store the remaining f32 weights in fewer bits, f16, int8 or int4; they are expanded in the module's first run; computation stays f32
    #[arg(long, value_enum, hide_possible_values = true, value_name = "TYPE", help_heading = "Quantisation")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<WeightOption>,
    /// How ranges follow from what was seen: min-max, percentile, entropy, mse, or best (the default), which tries all
    #[arg(
        long,
        value_enum,
        hide_possible_values = true,
        value_name = "METHOD",
        default_value_t,
        hide_default_value = true,
        help_heading = "Quantisation"
    )]
    #[serde(skip_serializing_if = "is_default")]
    pub calibration: Method,
    /// What calibration found, as JSON: written with --calibrate, else read
    #[arg(long, value_name = "FILE.json", help_heading = "Quantisation")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ranges: Option<PathBuf>,
    /// What is done with images, after resizing the shorter side to 256/224 of the input's and cropping the centre:
    /// imagenet (the default: mean and deviation per channel), unit (0..1), symmetric (-1..1) or raw (0..255)
    #[arg(
        long,
        value_enum,
        hide_possible_values = true,
        value_name = "WAY",
        default_value_t,
        hide_default_value = true,
        help_heading = "Quantisation"
    )]
    #[serde(skip_serializing_if = "is_default")]
    pub preprocess: Preprocess,
}

fn is_default<T: Default + PartialEq>(x: &T) -> bool {
    *x == T::default()
}

impl QuantizeOptions {
    /// The accuracy to reach; 0 where none is asked for.
    pub fn wanted_accuracy(&self) -> f64 {
        const MIXED: f64 = 0.99;
        self.target_accuracy.unwrap_or(if self.quantize == Some(Target::Mixed) { MIXED } else { 0.0 })
    }

    /// The most bytes that the constants may take.
    pub fn size_limit(&self) -> Option<u64> {
        self.target_size_mb.map(|mb| (mb * 1e6) as u64)
    }

    /// Whether the options fit together.
    pub fn check(&self, config: &Config) -> Result<(), Error> {
        let wrong = |sentence: &str, hint: &str| Err(Error::Usage(format!("{sentence}\nhint: {hint}")));
        let Some(target) = self.quantize else {
            return match self.calibrate {
                Some(_) => wrong("--calibrate has an effect with --quantize only", "add --quantize int8-static"),
                None => Ok(()),
            };
        };
        if self.target_accuracy.is_some_and(|part| !(0.0..=1.0).contains(&part)) {
            return wrong("an accuracy is a part of 1", "for example --target-accuracy 0.99");
        }
        if self.calibrate.is_none() && (target == Target::Mixed || self.target_accuracy.is_some()) {
            return wrong("accuracy is measured on data", "add --calibrate DATA.npz or a folder of images");
        }
        if target == Target::Int8Static && self.calibrate.is_none() && self.ranges.is_none() {
            let hint = "--calibrate DATA.npz, a folder of images, or --ranges FILE.json of an earlier export";
            return wrong("static quantisation needs to know which numbers occur", hint);
        }
        let runs = |pass: &str| {
            let only = config.passes.only.as_ref().is_none_or(|only| only.iter().any(|p| p == pass));
            only && !config.passes.disabled.iter().any(|p| p == pass)
        };
        if config.passes.level < Level::O2 || !runs("quantize_int8") {
            return wrong("quantisation is a pass of -O2, quantize_int8, which these options leave out", "leave the passes as they are");
        }
        Ok(())
    }
}
