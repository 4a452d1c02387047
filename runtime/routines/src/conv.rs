//! Deformable convolution of images.

use crate::sample::sample;
use crate::{Call, Done};

/// Inputs: `[N, C, H, W]`, weights `[O, C / groups, kh, kw]`, displacements `[N, displacement groups · kh · kw · 2, oh, ow]` (y before
/// x), bias `[O]` or nothing, factors `[N, displacement groups · kh · kw, oh, ow]` or nothing. Integers: groups, displacement groups,
/// stride, pad and dilation along y, then along x.
pub fn deform_conv(call: &mut Call) -> Done {
    let [x, w, offset, bias, mask, ..] = call.inputs;
    let groups = (call.int(0) as usize).max(1);
    let offset_groups = (call.int(1) as usize).max(1);
    let (along_y, along_x) = ((call.int(2), call.int(3), call.int(4)), (call.int(5), call.int(6), call.int(7)));
    let [out, ..] = &mut call.outputs;
    let (channels, height, width) = (x.dim(1), x.dim(2), x.dim(3));
    let (n_out, per_group, kh, kw) = (w.dim(0), w.dim(1), w.dim(2), w.dim(3));
    let (rows, columns) = (out.dim(2), out.dim(3));
    let (out_per_group, per_offset_group) = ((n_out / groups).max(1), (channels / offset_groups).max(1));
    let image = rows * columns;
    for batch in 0..out.dim(0) {
        for place in 0..image {
            let (row, column) = (place / columns.max(1), place % columns.max(1));
            for o in 0..n_out {
                let mut sum = if bias.is_empty() { 0.0 } else { bias.float(o) };
                for i in 0..per_group {
                    let c = o / out_per_group * per_group + i;
                    let group = c / per_offset_group;
                    for tap in 0..kh * kw {
                        let (ky, kx) = (tap / kw.max(1), tap % kw.max(1));
                        let slot = (batch * offset_groups + group) * kh * kw + tap;
                        let factor = if mask.is_empty() { 1.0 } else { mask.float(slot * image + place) };
                        let position = |k: usize, at: usize, (stride, pad, dilation): (i64, i64, i64), which: usize| {
                            (at as i64 * stride - pad + k as i64 * dilation) as f64 + offset.float((2 * slot + which) * image + place)
                        };
                        let at = (position(ky, row, along_y, 0), position(kx, column, along_x, 1));
                        let value = sample(&x, (batch * channels + c) * height * width, height, width, at);
                        sum += value * factor * w.float((o * per_group + i) * kh * kw + tap);
                    }
                }
                out.set_float((batch * n_out + o) * image + place, sum);
            }
        }
    }
    Ok(())
}
