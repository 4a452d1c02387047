//! Convolutions, and the geometry of sliding windows that pooling shares.

use super::pad::crop;
use super::{Row, one};
use crate::error::{Fault, invalid, unsupported};
use crate::site::Site;
use ir::ops::contract::conv::{Conv, DataLayout};
use ir::ops::shuffle::pad::Pad;
use ir::ops::shuffle::slice::Slice;
use ir::pointwise::{Fn, Pointwise};
use ir::{Dim, ValueId};

pub(super) const ROWS: &[Row] = &[one("Conv", conv), one("ConvTranspose", conv_transpose)];

/// Strides, dilations and pads (begins, then ends) of a window over some spatial axes.
pub(super) struct Geometry {
    pub kernel: Vec<i64>,
    pub strides: Vec<i64>,
    pub dilations: Vec<i64>,
    pub pads: Vec<i64>,
}

/// Attributes beyond this are mistakes, and would overflow sizes.
const LIMIT: i64 = 1 << 31;

/// A list attribute with one number per spatial axis (or `width` of them), all in `least..LIMIT`.
fn list(s: &Site, name: &str, length: usize, default: i64, least: i64) -> Result<Vec<i64>, Fault> {
    let Some(given) = s.attributes.ints(name)? else { return Ok(vec![default; length]) };
    if given.len() != length || given.iter().any(|v| !(least..LIMIT).contains(v)) {
        invalid!("attribute `{name}` must hold {length} numbers of at least {least}, found {given:?}");
    }
    Ok(given.to_vec())
}

/// Reads the window of a node over `x: [N, C, spatial…]`; the kernel is known already.
pub(super) fn geometry(s: &Site, x: ValueId, kernel: Vec<i64>) -> Result<Geometry, Fault> {
    let n = kernel.len();
    if s.rank(x) != n + 2 || n == 0 {
        invalid!("a window over {n} spatial dimensions needs an input of rank {}, found {}", n + 2, s.ty(x));
    }
    if kernel.iter().any(|k| !(1..LIMIT).contains(k)) {
        invalid!("the kernel has the size {kernel:?}");
    }
    let (strides, dilations) = (list(s, "strides", n, 1, 1)?, list(s, "dilations", n, 1, 1)?);
    let mut g = Geometry { kernel, strides, dilations, pads: list(s, "pads", 2 * n, 0, 0)? };
    let auto = s.attributes.string_or("auto_pad", "NOTSET")?;
    match auto {
        "NOTSET" => {}
        "VALID" => g.pads = vec![0; 2 * n],
        "SAME_UPPER" | "SAME_LOWER" => {
            for i in 0..n {
                let total = match s.shape(x)[2 + i].as_const() {
                    Some(size) => ((size + g.strides[i] - 1) / g.strides[i] - 1) * g.strides[i] + g.extent(i) - size,
                    None if g.strides[i] == 1 => g.extent(i) - 1,
                    None => return Err(Fault::run_time("padding")),
                };
                let (small, large) = (total.max(0) / 2, total.max(0) - total.max(0) / 2);
                (g.pads[i], g.pads[n + i]) = if auto == "SAME_UPPER" { (small, large) } else { (large, small) };
            }
        }
        other => invalid!("auto_pad `{other}` does not exist"),
    }
    Ok(g)
}

impl Geometry {
    /// Elements from the first to the last tap of one axis.
    pub fn extent(&self, axis: usize) -> i64 {
        self.dilations[axis] * (self.kernel[axis] - 1) + 1
    }
    pub fn axes(&self) -> usize {
        self.kernel.len()
    }
}

/// Sizes of the weights `[_, _, kernel…]`, checked against the attribute.
fn kernel(s: &Site, w: ValueId) -> Result<Vec<i64>, Fault> {
    let shape = s.const_shape(w, "shape of the weights")?;
    let Some(kernel) = shape.get(2..).filter(|k| !k.is_empty()) else { invalid!("the weights need spatial dimensions, found {}", s.ty(w)) };
    if let Some(given) = s.attributes.ints("kernel_shape")?.filter(|given| *given != kernel) {
        invalid!("kernel_shape is {given:?}, but the weights are {}", s.ty(w));
    }
    Ok(kernel.to_vec())
}

fn add_bias(s: &mut Site, y: ValueId) -> Result<ValueId, Fault> {
    let Some(bias) = s.optional(2) else { return Ok(y) };
    if s.rank(bias) != 1 || s.shape(bias)[0] != s.shape(y)[1] {
        invalid!("the bias {} does not fit the output {}", s.ty(bias), s.ty(y));
    }
    let bias = s.per_channel(bias, s.rank(y))?;
    s.binary(Fn::Add, y, bias)
}

pub(super) fn conv(s: &mut Site) -> Result<ValueId, Fault> {
    let (x, w) = (s.input(0)?, s.input(1)?);
    if s.rank(x) != s.rank(w) {
        invalid!("the input {} and the weights {} must have the same rank", s.ty(x), s.ty(w));
    }
    let g = geometry(s, x, kernel(s, w)?)?;
    let op = Conv {
        strides: g.strides,
        pads: g.pads,
        dilations: g.dilations,
        group: s.attributes.int_or("group", 1)?.clamp(0, LIMIT),
        data: DataLayout::Nchw,
        pad_value: 0,
        epilogue: Pointwise::identity(),
    };
    let y = s.add(op, &[x, w])?;
    add_bias(s, y)
}

/// Convolution of the input, spread out by zeros, with the weights flipped and their channels exchanged.
fn conv_transpose(s: &mut Site) -> Result<ValueId, Fault> {
    let (x, w) = (s.input(0)?, s.input(1)?);
    if s.rank(x) != s.rank(w) {
        invalid!("the input {} and the weights {} must have the same rank", s.ty(x), s.ty(w));
    }
    let group = s.attributes.int_or("group", 1)?;
    let kernel = kernel(s, w)?;
    let n = kernel.len();
    let (before, after) = transposed_pads(s, x, &kernel)?;
    let (strides, dilations) = (list(s, "strides", n, 1, 1)?, list(s, "dilations", n, 1, 1)?);
    let mut spread = spread(s, x, &strides)?;
    // Pads of the plain convolution; where they are negative, the input loses its border instead.
    let extent: Vec<i64> = (0..n).map(|i| dilations[i] * (kernel[i] - 1)).collect();
    let mut begins: Vec<i64> = [0, 0].into_iter().chain((0..n).map(|i| extent[i] - before[i])).collect();
    let mut ends: Vec<i64> = [0, 0].into_iter().chain((0..n).map(|i| extent[i] - after[i])).collect();
    spread = crop(s, spread, &mut begins, &mut ends)?;
    let w = exchange_channels(s, w, group)?;
    let op = Conv {
        strides: vec![1; n],
        pads: begins[2..].iter().chain(&ends[2..]).copied().collect(),
        dilations,
        group,
        data: DataLayout::Nchw,
        pad_value: 0,
        epilogue: Pointwise::identity(),
    };
    let y = s.add(op, &[spread, w])?;
    add_bias(s, y)
}

/// Pads of a transposed convolution: what its full output loses at both ends (negative: gains).
fn transposed_pads(s: &Site, x: ValueId, kernel: &[i64]) -> Result<(Vec<i64>, Vec<i64>), Fault> {
    let n = kernel.len();
    let g = Geometry {
        kernel: kernel.to_vec(),
        strides: list(s, "strides", n, 1, 1)?,
        dilations: list(s, "dilations", n, 1, 1)?,
        pads: list(s, "pads", 2 * n, 0, 0)?,
    };
    let extra = list(s, "output_padding", n, 0, 0)?;
    let auto = s.attributes.string_or("auto_pad", "NOTSET")?;
    let given = match s.attributes.ints("output_shape")? {
        Some(_) => Some(list(s, "output_shape", n, 0, 1)?),
        None => None,
    };
    let (mut before, mut after) = (vec![], vec![]);
    for i in 0..n {
        let size = || s.shape(x)[2 + i].as_const().ok_or_else(|| Fault::run_time("padding"));
        let wanted = match (&given, auto) {
            (Some(shape), _) => Some(shape[i]),
            (None, "SAME_UPPER" | "SAME_LOWER") => Some(size()? * g.strides[i]),
            (None, "NOTSET" | "VALID") => None,
            (None, other) => invalid!("auto_pad `{other}` does not exist"),
        };
        let (begin, end) = match wanted {
            Some(wanted) => {
                let total = g.strides[i] * (size()? - 1) + extra[i] + g.extent(i) - wanted;
                let half = total.div_euclid(2);
                if auto == "SAME_UPPER" { (half, total - half) } else { (total - half, half) }
            }
            None if auto == "VALID" => (0, 0),
            None => (g.pads[i], g.pads[n + i]),
        };
        before.push(begin);
        after.push(end - extra[i]);
    }
    Ok((before, after))
}

/// `stride − 1` zeros between the elements of every spatial axis: `[…, H] → […, H, 1] → […, H, s] → […, H·s]`, less the last zeros.
fn spread(s: &mut Site, x: ValueId, strides: &[i64]) -> Result<ValueId, Fault> {
    if strides.iter().all(|stride| *stride == 1) {
        return Ok(x);
    }
    let from = s.shape(x);
    let (mut apart, mut joined, mut counts) = (from[..2].to_vec(), from[..2].to_vec(), from[..2].to_vec());
    let mut after: Vec<Dim> = vec![0i64.into(); 2];
    for (size, stride) in from[2..].iter().zip(strides) {
        apart.extend([size.clone(), 1i64.into()]);
        after.extend([0i64.into(), Dim::from(stride - 1)]);
        joined.push(size.clone() * *stride);
        counts.push((size.clone() - 1) * *stride + 1);
    }
    let x = s.reshape(x, apart)?;
    let x = s.add(Pad { before: vec![0i64.into(); after.len()], after, value: 0.0 }, &[x])?;
    let x = s.reshape(x, joined)?;
    let rank = counts.len();
    s.add(Slice { starts: vec![0i64.into(); rank], counts, steps: vec![1; rank] }, &[x])
}

/// `[C, M/group, kernel…] → [M, C/group, kernel…]`, every kernel axis reversed.
fn exchange_channels(s: &mut Site, w: ValueId, group: i64) -> Result<ValueId, Fault> {
    let shape = s.const_shape(w, "shape of the weights")?;
    if group < 1 || shape[0] % group != 0 {
        unsupported!("{} input channels do not divide into {group} groups", shape[0]);
    }
    let (inputs, outputs) = (shape[0] / group, shape[1]);
    let rank = shape.len();
    let mut starts = vec![0; 2];
    starts.extend(shape[2..].iter().map(|k| k - 1));
    let steps = [1, 1].into_iter().chain(vec![-1; rank - 2]).collect();
    let dims = |list: Vec<i64>| list.into_iter().map(Dim::from).collect::<Vec<Dim>>();
    let mut w = s.add(Slice { starts: dims(starts), counts: dims(shape.clone()), steps }, &[w])?;
    let with_kernel = |head: &[i64]| dims([head, &shape[2..]].concat());
    w = s.reshape(w, with_kernel(&[group, inputs, outputs]))?;
    let perm: Vec<usize> = [0, 2, 1].into_iter().chain(3..rank + 1).collect();
    w = s.transpose(w, &perm)?;
    s.reshape(w, with_kernel(&[group.saturating_mul(outputs), inputs]))
}
