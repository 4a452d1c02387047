//! Signal processing: Fourier transforms as products with constant tables, windows and filter banks as constants.

mod factored;

use super::{Row, one};
use crate::error::{Fault, invalid, unsupported};
use crate::site::Site;
use crate::tensor::dtype;
use ir::ops::contract::matmul::MatMul;
use ir::ops::gather::gather_op::Gather;
use ir::pointwise::{Fn, Pointwise};
use ir::{DType, Dim, Tensor, ValueId};
use std::f64::consts::TAU;

pub(super) const ROWS: &[Row] = &[
    one("BlackmanWindow", |s| window(s, |x| 0.42 - 0.5 * libm_cos(x) + 0.08 * libm_cos(2.0 * x))),
    one("DFT", |s| {
        let axis = s.attributes.int_or("axis", 1)?;
        dft(s, axis)
    }),
    one("DFT", dft_of_axis_input).since(20),
    one("HammingWindow", |s| window(s, |x| 25.0 / 46.0 - 21.0 / 46.0 * libm_cos(x))),
    one("HannWindow", |s| window(s, |x| 0.5 - 0.5 * libm_cos(x))),
    one("MelWeightMatrix", mel),
    one("STFT", stft),
];

/// Elements of a table that the importer writes into the graph.
const LIMIT: i64 = 1 << 26;

/// The cosine as `eval` computes it, the same on every machine.
fn libm_cos(x: f64) -> f64 {
    ir::ops::map::scalar::float(Fn::Cos, &[x])
}
fn libm_sin(x: f64) -> f64 {
    ir::ops::map::scalar::float(Fn::Sin, &[x])
}

fn known_int(s: &Site, i: usize, what: &str) -> Result<i64, Fault> {
    let v = s.input(i)?;
    if let Some(size) = s.graph.value(v).sizes.as_ref().and_then(|d| d.first()?.as_const()) {
        return Ok(size);
    }
    s.scalar(v).map(|x| x as i64).ok_or_else(|| Fault::run_time(what))
}

fn output_type(s: &Site) -> Result<DType, Fault> {
    dtype(i32::try_from(s.attributes.int_or("output_datatype", 1)?).unwrap_or(-1))
}

/// One period of a sum of cosines; a symmetric window ends where the next period would begin.
fn window(s: &mut Site, value: fn(f64) -> f64) -> Result<ValueId, Fault> {
    let size = known_int(s, 0, "size of the window")?;
    if !(0..=LIMIT).contains(&size) {
        invalid!("a window of size {size} cannot be made");
    }
    let period = if s.attributes.int_or("periodic", 1)? != 0 { size } else { size - 1 };
    let dtype = output_type(s)?;
    let table = Tensor::from_fn(dtype, &[size as usize], |i| value(i as f64 * TAU / period as f64));
    Ok(s.constant_value(table))
}

/// A Fourier transform along one axis: what its table says.
#[derive(Debug, Clone, Copy)]
struct Transform {
    /// Elements along the axis before and after.
    from: i64,
    to: i64,
    /// Length of the period.
    length: i64,
    complex_in: bool,
    complex_out: bool,
    inverse: bool,
    /// The input is one half of a spectrum whose other half mirrors it.
    half_in: bool,
}

impl Transform {
    /// `[from · parts, to · parts]`: rows for the parts of each input element, columns for those of each output element.
    fn table(&self, dtype: DType) -> Result<Tensor, Fault> {
        let parts = |complex: bool| if complex { 2 } else { 1 };
        let rows = self.from.saturating_mul(parts(self.complex_in));
        let columns = self.to.saturating_mul(parts(self.complex_out));
        if self.length < 1 || rows.saturating_mul(columns) > LIMIT {
            unsupported!("a Fourier transform of length {} is too large to be written as a table", self.length);
        }
        let sign = if self.inverse { 1.0 } else { -1.0 };
        let scale = if self.inverse { 1.0 / self.length as f64 } else { 1.0 };
        Ok(Tensor::from_fn(dtype, &[rows as usize, columns as usize], |i| {
            let (row, column) = (i as i64 / columns, i as i64 % columns);
            let (n, k) = (row / parts(self.complex_in), column / parts(self.complex_out));
            let (imaginary_in, imaginary_out) = (self.complex_in && row % 2 == 1, self.complex_out && column % 2 == 1);
            // What lies beyond the period is left out, what is missing is zero.
            if n >= if self.half_in { self.length / 2 + 1 } else { self.length } {
                return 0.0;
            }
            let mirrored = self.half_in && n != 0 && 2 * n != self.length;
            let weight = scale * if mirrored { 2.0 } else { 1.0 };
            let angle = sign * TAU * ((n * k) % self.length) as f64 / self.length as f64;
            weight
                * match (imaginary_in, imaginary_out) {
                    (false, false) | (true, true) => libm_cos(angle),
                    (false, true) => libm_sin(angle),
                    (true, false) => -libm_sin(angle),
                }
        }))
    }

    /// Over the dimension before the last of `[…, from, parts]`.
    fn apply(&self, s: &mut Site, x: ValueId) -> Result<ValueId, Fault> {
        if let Some(factors) = self.factors() {
            return self.apply_factored(s, x, factors);
        }
        let shape = s.shape(x);
        let dtype = s.dtype(x);
        let rank = shape.len();
        let table = self.table(dtype)?;
        let rows = Dim::from(table.shape[0]);
        let table = s.constant_value(table);
        let flat: Dim = shape[..rank - 2].iter().product();
        let x = s.reshape(x, vec![flat, rows])?;
        let y = s.add(MatMul { transpose_b: false, epilogue: Pointwise::identity() }, &[x, table])?;
        let mut result = shape[..rank - 2].to_vec();
        result.extend([Dim::from(self.to), Dim::from(if self.complex_out { 2i64 } else { 1 })]);
        s.reshape(y, result)
    }
}

/// 1 part is real, 2 are complex.
fn is_complex(s: &Site, x: ValueId) -> Result<bool, Fault> {
    match s.shape(x).last().and_then(|d| d.as_const()) {
        Some(1) => Ok(false),
        Some(2) => Ok(true),
        _ => Err(Fault::invalid(format!("the last dimension must be 1 (real) or 2 (complex), found {}", s.ty(x)))),
    }
}

fn dft(s: &mut Site, axis: i64) -> Result<ValueId, Fault> {
    let x = s.input(0)?;
    let rank = s.rank(x);
    let axis = s.axis(axis, rank)?;
    if rank < 2 || axis == rank - 1 {
        invalid!("the transform runs over a dimension before the last one, found axis {axis} of {}", s.ty(x));
    }
    let complex_in = is_complex(s, x)?;
    let (inverse, onesided) = (s.attributes.flag("inverse")?, s.attributes.flag("onesided")?);
    let from = s.shape(x)[axis].as_const().ok_or_else(|| Fault::run_time("length of the signal"))?;
    let half_in = inverse && onesided;
    let length = match s.optional(1) {
        Some(_) => known_int(s, 1, "length of the transform")?,
        None if half_in => 2 * (from - 1),
        None => from,
    };
    let to = if onesided && !inverse { length / 2 + 1 } else { length };
    let transform = Transform { from, to, length, complex_in, complex_out: !half_in, inverse, half_in };
    let mut order: Vec<usize> = (0..rank).collect();
    order.swap(axis, rank - 2);
    let moved = if axis == rank - 2 { x } else { s.transpose(x, &order)? };
    let y = transform.apply(s, moved)?;
    if axis == rank - 2 { Ok(y) } else { s.transpose(y, &order) }
}

/// An axis that only the run tells: of the axes that give the declared shape, the one that it names.
fn dft_of_axis_input(s: &mut Site) -> Result<ValueId, Fault> {
    let Some(named) = s.optional(2) else { return dft(s, -2) };
    if let Ok(axis) = s.ints(named, "axis") {
        return dft(s, axis.first().copied().unwrap_or(-2));
    }
    let (x, expected) = (s.input(0)?, s.declared(0)?);
    let rank = s.rank(x) as i64;
    let named = s.reshape(named, vec![])?;
    let mut result: Option<ValueId> = None;
    for axis in 0..rank - 1 {
        // An axis too short for the transform is not the one.
        let Some(y) = dft(s, axis).ok().filter(|y| s.shape(*y) == expected) else { continue };
        result = Some(match result {
            Some(other) => s.term(&format!("select(or(equal(?a, {axis}), equal(?a, {})), ?b, ?c)", axis - rank), &[named, y, other])?,
            None => y,
        });
    }
    result.ok_or_else(|| Fault::run_time("axis"))
}

/// The step between frames; where only the run tells it, the one step that gives the declared number of frames.
fn frame_step(s: &mut Site, total: i64, length: i64) -> Result<i64, Fault> {
    if let Ok(step) = known_int(s, 1, "step of the frames") {
        return Ok(step);
    }
    let frames = s.declared(0)?.get(1).and_then(|d| d.as_const()).ok_or_else(|| Fault::run_time("step of the frames"))?;
    let steps: Vec<i64> = (1..=total).filter(|step| (total - length) / step + 1 == frames).collect();
    match steps[..] {
        [step] => Ok(step),
        _ => Err(Fault::run_time("step of the frames")),
    }
}

/// Windows over the signal, each transformed.
fn stft(s: &mut Site) -> Result<ValueId, Fault> {
    let signal = s.input(0)?;
    let shape = s.shape(signal);
    if shape.len() != 3 {
        invalid!("the signal must be [batch, length, 1 or 2], found {}", s.ty(signal));
    }
    let complex_in = is_complex(s, signal)?;
    let total = shape[1].as_const().ok_or_else(|| Fault::run_time("length of the signal"))?;
    let window = s.optional(2);
    let length = match (s.optional(3), window) {
        (Some(_), _) => known_int(s, 3, "length of the frames")?,
        (None, Some(window)) => s.const_shape(window, "length of the window")?.first().copied().unwrap_or(1),
        (None, None) => total,
    };
    let step = frame_step(s, total, length)?;
    if step < 1 || !(1..=total).contains(&length) {
        invalid!("frames of {length} elements every {step} do not fit a signal of {total}");
    }
    let frames = (total - length) / step + 1;
    let picks: Vec<i64> = (0..frames * length).map(|i| i / length * step + i % length).collect();
    let picks = s.constant_value(Tensor::new(&[frames as usize, length as usize], &picks));
    let mut framed = s.add(Gather { axis: 1 }, &[signal, picks])?;
    if let Some(window) = window {
        let window = s.reshape(window, vec![length.into(), 1i64.into()])?;
        framed = s.binary(Fn::Mul, framed, window)?;
    }
    let onesided = s.attributes.int_or("onesided", 1)? != 0;
    let to = if onesided { length / 2 + 1 } else { length };
    Transform { from: length, to, length, complex_in, complex_out: true, inverse: false, half_in: false }.apply(s, framed)
}

/// Triangles over the bins of a spectrum, equally spaced on the mel scale.
fn mel(s: &mut Site) -> Result<ValueId, Fault> {
    let bands = known_int(s, 0, "number of mel bands")?;
    let length = known_int(s, 1, "length of the transform")?;
    let mut numbers = [0.0; 3];
    for (i, number) in numbers.iter_mut().enumerate() {
        let v = s.input(2 + i)?;
        *number = s.scalar(v).ok_or_else(|| Fault::run_time("frequency range"))?;
    }
    let [rate, low, high] = numbers;
    let bins = length / 2 + 1;
    if bands < 1 || length < 1 || bins.saturating_mul(bands) > LIMIT {
        invalid!("a matrix of {bins} x {bands} weights cannot be made");
    }
    let to_mel = |f: f64| 2595.0 * (1.0 + f / 700.0).log10();
    let step = (to_mel(high) - to_mel(low)) / (bands + 2) as f64;
    let edge = |i: i64| {
        let hertz = 700.0 * (10f64.powf((to_mel(low) + i as f64 * step) / 2595.0) - 1.0);
        ((length + 1) as f64 * hertz / rate).floor() as i64
    };
    let dtype = output_type(s)?;
    let table = Tensor::from_fn(dtype, &[bins as usize, bands as usize], |i| {
        let (bin, band) = (i as i64 / bands, i as i64 % bands);
        let (left, centre, right) = (edge(band), edge(band + 1), edge(band + 2));
        match bin {
            b if b == centre => 1.0,
            b if (left..centre).contains(&b) => (b - left) as f64 / (centre - left) as f64,
            b if (centre..right).contains(&b) => (right - b) as f64 / (right - centre) as f64,
            _ => 0.0,
        }
    });
    Ok(s.constant_value(table))
}
