//! PNG and JPEG files to the input of an image model: decoded, resized, cropped, normalised. It knows the shape of the input
//! and nothing else about the model.

use crate::Error;
use crate::error::read_file;
use image::imageops::FilterType;
use ir::{DType, Tensor};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What is done with the pixels (0..1) of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Preprocess {
    /// torchvision's: (x − mean) / deviation with ImageNet's numbers per channel
    #[default]
    Imagenet,
    /// 0..1
    Unit,
    /// −1..1
    Symmetric,
    /// 0..255
    Raw,
}

const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const DEVIATION: [f32; 3] = [0.229, 0.224, 0.225];
/// The shorter side is resized to the input's size times this, as 256 to 224.
const MARGIN: f32 = 256.0 / 224.0;

/// Whether a file's name says that it is an image.
pub fn is_image(path: &Path) -> bool {
    let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase());
    extension.is_some_and(|e| ["png", "jpg", "jpeg"].contains(&e.as_str()))
}

/// Reads an image as `f32` of `shape`, `[1, C, H, W]` or `[1, H, W, C]` with 1 or 3 channels: the shorter side resized
/// (bilinear) to 256/224 of the input's, the centre cropped.
pub fn read(path: &Path, shape: &[usize], preprocess: Preprocess) -> Result<Tensor, Error> {
    let (channels, height, width, first) = match *shape {
        [1, c @ (1 | 3), h, w] => (c, h, w, true),
        [1, h, w, c @ (1 | 3)] => (c, h, w, false),
        _ => {
            let sentence = format!("{}: the model's input {shape:?} is no image of 1 or 3 channels", path.display());
            return Err(Error::Usage(format!("{sentence}\nhint: calibrate with arrays: --calibrate DATA.npz")));
        }
    };
    let decoded = image::load_from_memory(&read_file(path)?)
        .map_err(|error| Error::Usage(format!("{}: the image cannot be decoded: {error}", path.display())))?
        .to_rgb8();
    let scale = MARGIN * (height as f32 / decoded.height() as f32).max(width as f32 / decoded.width() as f32);
    let size = |n: u32, least: usize| ((n as f32 * scale).round() as u32).max(least as u32);
    let resized = image::imageops::resize(&decoded, size(decoded.width(), width), size(decoded.height(), height), FilterType::Triangle);
    let (left, top) = ((resized.width() as usize - width) / 2, (resized.height() as usize - height) / 2);
    let mut tensor = Tensor::zeros(DType::F32, shape);
    let out = tensor.as_mut_slice::<f32>();
    for y in 0..height {
        for x in 0..width {
            let pixel = resized.get_pixel((left + x) as u32, (top + y) as u32).0.map(|p| f32::from(p) / 255.0);
            for c in 0..channels {
                // ITU-R BT.601, as most libraries make grey.
                let value = if channels == 1 { 0.299 * pixel[0] + 0.587 * pixel[1] + 0.114 * pixel[2] } else { pixel[c] };
                let at = if first { (c * height + y) * width + x } else { (y * width + x) * channels + c };
                out[at] = match preprocess {
                    Preprocess::Imagenet => (value - MEAN[c]) / DEVIATION[c],
                    Preprocess::Unit => value,
                    Preprocess::Symmetric => 2.0 * value - 1.0,
                    Preprocess::Raw => 255.0 * value,
                };
            }
        }
    }
    Ok(tensor)
}
