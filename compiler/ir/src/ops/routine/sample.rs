//! Sampling between elements: `grid_sample`, `roi_align`, `deform_conv`, `resize`.

use super::{RoutineDef, floats, ranks};
use crate::dim::Dim;
use crate::graph::TensorType;
use crate::ops::OpError;
use crate::{attr_enum, attrs, op_error};

attr_enum! {
    /// The kernel between elements.
    pub enum Sampling {
        Nearest = "nearest",
        Linear = "linear",
        Cubic = "cubic",
    }
}

attr_enum! {
    /// What lies outside an image.
    pub enum Outside {
        Zeros = "zeros",
        Border = "border",
        Reflection = "reflection",
    }
}

attrs! {
    /// `[N, C, spatial…], [N, out…, axes]`: samples at positions from −1 to 1, the last axis first.
    pub struct GridSample {
        pub mode: Sampling,
        pub outside: Outside,
        /// −1 and 1 are the centres of the corner elements, not their outer edges.
        pub align_corners: bool,
    }
}

impl RoutineDef for GridSample {
    const NAME: &'static str = "grid_sample";

    fn inputs(&self) -> usize {
        2
    }
    fn types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        inputs.iter().try_for_each(|t| floats("grid_sample", t))?;
        let (x, grid) = (inputs[0], inputs[1]);
        let axes = x.rank().saturating_sub(2);
        let fits = (1..=3).contains(&axes) && grid.rank() == x.rank() && grid.shape[axes + 1] == axes as i64 && grid.shape[0] == x.shape[0];
        if !fits {
            op_error!("grid_sample: positions {grid} do not fit {x}");
        }
        let shape = x.shape[..2].iter().chain(&grid.shape[1..axes + 1]).cloned().collect();
        Ok(vec![TensorType { dtype: x.dtype, shape }])
    }
    fn ints(&self) -> Vec<i64> {
        let mode = match self.mode {
            Sampling::Linear => 0,
            Sampling::Nearest => 1,
            Sampling::Cubic => 2,
        };
        vec![mode, self.outside as i64, self.align_corners.into()]
    }
}

attrs! {
    /// `x, regions, batches`: bilinear samples in a grid of `size` (height, width) over each region `[x1, y1, x2, y2] · scale`.
    pub struct RoiAlign {
        pub size: Vec<i64>,
        /// Maxima instead of averages.
        pub maximum: bool,
        /// Samples per cell and axis; 0: as many as elements.
        pub samples: i64,
        /// Coordinates are of corners, not centres, of elements.
        pub half_pixel: bool,
        pub scale: f64,
    }
}

impl RoutineDef for RoiAlign {
    const NAME: &'static str = "roi_align";

    fn inputs(&self) -> usize {
        3
    }
    fn types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        ranks("roi_align", inputs, &[4, 2, 1])?;
        inputs[..2].iter().try_for_each(|t| floats("roi_align", t))?;
        super::integers("roi_align", inputs[2])?;
        let [height, width] = self.size[..] else { op_error!("roi_align: {:?} is not a height and a width", self.size) };
        if inputs[1].shape[1] != 4 || inputs[1].shape[0] != inputs[2].shape[0] || height < 1 || width < 1 {
            op_error!("roi_align: regions {} and batches {} do not fit", inputs[1], inputs[2]);
        }
        let shape = vec![inputs[1].shape[0].clone(), inputs[0].shape[1].clone(), height.into(), width.into()];
        Ok(vec![TensorType { dtype: inputs[0].dtype, shape }])
    }
    fn ints(&self) -> Vec<i64> {
        vec![self.maximum.into(), self.samples, self.half_pixel.into()]
    }
    fn floats(&self) -> Vec<f64> {
        vec![self.scale]
    }
}

attrs! {
    /// `x [N, C, H, W], w [O, C/groups, kh, kw], offset, bias, mask`: each tap is displaced by an offset (y, x) and weighted by the
    /// mask. No elements of bias or mask: none. Lists hold y, then x; pads the begins, then the ends.
    pub struct DeformConv {
        pub groups: i64,
        pub offset_groups: i64,
        pub strides: Vec<i64>,
        pub pads: Vec<i64>,
        pub dilations: Vec<i64>,
    }
}

impl RoutineDef for DeformConv {
    const NAME: &'static str = "deform_conv";

    fn inputs(&self) -> usize {
        5
    }
    fn types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        ranks("deform_conv", inputs, &[4, 4, 4])?;
        inputs.iter().try_for_each(|t| floats("deform_conv", t))?;
        let [x, w, offset, bias, mask] = inputs[..] else { op_error!("deform_conv takes five inputs") };
        if [self.strides.len(), self.dilations.len(), self.pads.len() / 2] != [2; 3] || self.groups < 1 || self.offset_groups < 1 {
            op_error!("deform_conv: two strides, two dilations and four pads are needed");
        }
        let taps = w.shape[2].clone() * w.shape[3].clone() * self.offset_groups;
        let fits = w.shape[1].clone() * self.groups == x.shape[1]
            && offset.shape[1] == taps.clone() * 2
            && w.shape[0].div_exact(&self.groups.into()).is_some()
            && x.shape[1].div_exact(&self.offset_groups.into()).is_some()
            && (bias.elements() == 0 || bias.elements() == w.shape[0])
            && (mask.elements() == 0 || mask.elements() == x.shape[0].clone() * taps * offset.shape[2].clone() * offset.shape[3].clone());
        if !fits {
            op_error!("deform_conv: {x}, weights {w}, offsets {offset}, bias {bias} and mask {mask} do not fit");
        }
        let shape = vec![x.shape[0].clone(), w.shape[0].clone(), offset.shape[2].clone(), offset.shape[3].clone()];
        Ok(vec![TensorType { dtype: x.dtype, shape }])
    }
    fn ints(&self) -> Vec<i64> {
        let along = (0..2).flat_map(|i| [self.strides[i], self.pads[i], self.dilations[i]]);
        [self.groups, self.offset_groups].into_iter().chain(along).collect()
    }
}

attr_enum! {
    /// From a position of the output to a coordinate of the input.
    pub enum Coordinates {
        HalfPixel = "half_pixel",
        PytorchHalfPixel = "pytorch_half_pixel",
        AlignCorners = "align_corners",
        Asymmetric = "asymmetric",
        HalfPixelSymmetric = "half_pixel_symmetric",
        Crop = "tf_crop_and_resize",
    }
}

attr_enum! {
    /// Which neighbour is the nearest.
    pub enum Rounding {
        PreferFloor = "round_prefer_floor",
        PreferCeil = "round_prefer_ceil",
        Floor = "floor",
        Ceil = "ceil",
    }
}

attrs! {
    /// `x, scales, region`: x resampled along `axes` to `shape`. Without `scales` in the attributes they are the input; a region has
    /// the starts of all axes, then the ends, as fractions; no elements: none.
    pub struct Resize {
        pub mode: Sampling,
        pub coordinates: Coordinates,
        pub rounding: Rounding,
        /// Elements outside do not count, instead of repeating the border.
        pub exclude_outside: bool,
        pub antialias: bool,
        pub cubic: f64,
        /// Value outside of a cropped region.
        pub extrapolation: f64,
        pub axes: Vec<i64>,
        /// `f64` bits of the scales.
        pub scales: Vec<i64>,
        pub shape: Vec<Dim>,
    }
}

impl RoutineDef for Resize {
    const NAME: &'static str = "resize";

    fn inputs(&self) -> usize {
        3
    }
    fn types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        let n = self.axes.len() as i64;
        self.axes.iter().try_for_each(|a| super::in_rank("resize", *a, inputs[0]).map(drop))?;
        let scales = if self.scales.is_empty() { inputs[1].elements() } else { (self.scales.len() as i64).into() };
        let region = inputs[2].elements();
        if scales != n || !(region == 0 || region == 2 * n) || self.shape.len() != inputs[0].rank() {
            op_error!("resize: {scales} scales and a region of {region} numbers do not fit {} axes of {}", n, inputs[0]);
        }
        Ok(vec![TensorType { dtype: inputs[0].dtype, shape: self.shape.clone() }])
    }
    fn ints(&self) -> Vec<i64> {
        let mut ints = vec![self.mode as i64, self.coordinates as i64, self.rounding as i64, self.exclude_outside.into()];
        ints.extend([self.antialias.into(), self.axes.len() as i64]);
        ints.extend(&self.axes);
        ints
    }
    fn floats(&self) -> Vec<f64> {
        [self.cubic, self.extrapolation].into_iter().chain(self.scales.iter().map(|s| f64::from_bits(*s as u64))).collect()
    }
}
