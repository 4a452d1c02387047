//! Minimal filtering F(4x4, 3x3) of bytes by constant `i8` weights, in integers: the same sums as those of the direct form,
//! to the bit. The transformed patches and weights are 16-bit integers, their products are summed modulo 2³².
//!
//! With `G` times 24 (its last row times 8), what comes out is 576 times the sum, modulo 2³². Nine has an inverse modulo
//! 2³², so that 64 times the sum follows, and from that the sum wherever it lies between −2²⁵ and 2²⁵: this is what
//! [`is_exact`] decides by the magnitudes of the weights.

use super::super::winograd::{Once, Shape, strips};
use super::super::{self as contract, Operands, transform as float};
use super::transform;
use crate::cx::{Cx, NodeCx};
use crate::schedule::{self, Schedule};
use crate::view::{Linear, Source, View, linear};
use crate::write::contract::nest::{Nest, Product};
use crate::write::pack::Panels;
use ir::algorithm::Contract;
use ir::{DType, Tensor};
use kernel::{I16x8, V, v128_load8x8_s};

/// Outputs per tile and axis, inputs, and values of a tile.
pub const TILE: usize = 4;
pub const PATCH: usize = TILE + 2;
const VALUES: usize = PATCH * PATCH;

/// Sums of this magnitude and more are not recovered.
const LIMIT: i64 = 1 << 25;

/// Channels that the transforms take at a time.
const GROUP: usize = 8;

/// Multiply-accumulates of the direct form in a cycle, at best: with relaxed dot products.
const DIRECT_PER_CYCLE: f64 = 24.0;
/// Bytes of weights that arrive in a cycle from where they are after a run of all other layers.
const BYTES_PER_CYCLE: f64 = 16.0;

/// Whether every sum of a convolution by these weights is recovered, and the shape is one of those that are written here.
pub fn is_exact(contract: &Contract, shape: &Shape, a: DType, weights: &Tensor) -> bool {
    if !shape.channels.is_multiple_of(GROUP) || !shape.outputs.is_multiple_of(4) {
        return false;
    }
    // Only strides and shape matter, not where the tensor lies.
    let view = View::dense(Source::Weight(crate::plan::WeightId(usize::MAX)), DType::I8, &weights.shape);
    let b = linear(&view, &contract.b.index, contract.axes.len());
    let values = weights.as_slice::<i8>();
    let [of_m, of_kh, of_kw, of_c] = weight_strides(shape, &b);
    (0..shape.outputs as i64).all(|m| {
        // What positive and negative weights can add up to, at most.
        let (mut positive, mut negative) = (0i64, 0i64);
        for (kh, kw, c) in taps(shape.channels) {
            let at = b.base + m * of_m + kh * of_kh + kw * of_kw + c * of_c;
            let weight = i64::from(values[at as usize]);
            if weight > 0 { positive += weight } else { negative -= weight }
        }
        match a {
            DType::U8 => 255 * positive.max(negative) < LIMIT,
            _ => 128 * (positive + negative) < LIMIT,
        }
    })
}

/// Distances between weights: output channels, rows and columns of the filter, channels.
fn weight_strides(shape: &Shape, b: &Linear) -> [i64; 4] {
    let axes = &shape.form.axes;
    let row = axes.tap_row.expect("a filter of two axes");
    [axes.output, row, axes.tap_column, axes.channel].map(|axis| b.strides[axis])
}

fn taps(channels: usize) -> impl Iterator<Item = (i64, i64, i64)> {
    (0..3).flat_map(move |kh| (0..3).flat_map(move |kw| (0..channels as i64).map(move |c| (kh, kw, c))))
}

/// Predicted cycles that this form saves; negative unless it is faster in all variants.
pub fn saved_cycles(shape: &Shape) -> f64 {
    let tiles = shape.tile_rows() * shape.tile_columns();
    let product = schedule::choose(1, tiles, shape.outputs, shape.channels / 2, false, None);
    let transforms = tiles * (shape.channels / GROUP + shape.outputs / 4);
    let filtered = VALUES as f64 * product.cycles + 110.0 * transforms as f64;
    let direct = (9 * shape.height * shape.width * shape.channels * shape.outputs) as f64 / DIRECT_PER_CYCLE;
    shape.images as f64 * (0.9 * direct - filtered) - weight_bytes(shape) as f64 / BYTES_PER_CYCLE
}

/// Bytes of the transformed weights.
pub fn weight_bytes(shape: &Shape) -> u64 {
    2 * (VALUES * shape.channels * shape.outputs) as u64
}

/// Where the 36 values of all tiles lie: `[value][tile][channel]`, in bytes from tile to tile and from value to value.
pub struct Planes {
    pub tile: usize,
    pub plane: usize,
}

impl Planes {
    /// An odd number of cache lines from plane to plane: what a tile writes to all of them falls on different sets.
    fn new(tile: usize, tiles: usize) -> Planes {
        Planes { tile, plane: (tile * tiles).next_multiple_of(128) + 64 }
    }
}

/// Writes the convolution.
pub fn write(cx: &mut Cx, nx: &NodeCx, contract: &Contract, operands: &Operands) {
    let shape = Shape::of(contract).expect("checked when the method was chosen");
    let (channels, outputs) = (shape.channels, shape.outputs);
    let tiles = shape.tile_rows() * shape.tile_columns();
    let schedule = schedule::choose(1, tiles, outputs, channels / 2, false, cx.options.tiles);
    let panels = Panels { columns: outputs, depth: channels / 2, vectors: schedule.vectors, gap: 0 };
    let weights = transformed_weights(cx, nx, contract, &shape, &panels);
    let strips = strips(&shape, VALUES * 2 * channels, VALUES * 4 * outputs);
    let largest = strips.iter().map(|(_, rows)| rows * shape.tile_columns()).max().unwrap_or(0);
    let (patch, product) = (Planes::new(2 * channels, largest), Planes::new(4 * outputs, largest));
    let patches = cx.temporary(&format!("{} patches", nx.name), DType::I16, &[VALUES * patch.plane / 2]);
    let products = cx.temporary(&format!("{} products", nx.name), DType::I32, &[VALUES * product.plane / 4]);
    let saturates = super::saturates(nx, contract, operands, 9 * channels);
    for image in 0..shape.images {
        for (first, rows) in &strips {
            let strip = float::Strip { columns: shape.tile_columns(), rows: *rows, first_row: *first, image };
            transform::input(cx, nx, &strip, operands, channels, &patches, &patch);
            let tiles = rows * shape.tile_columns();
            let nest = Nest::product(&Product {
                batches: (VALUES, [patch.plane as i64, product.plane as i64]),
                rows: (tiles, [patch.tile as i64, product.tile as i64]),
                columns: outputs,
                depth: channels / 2,
            });
            let schedule = Schedule { runs: schedule::cut(tiles, schedule.rows.min(tiles)), ..schedule.clone() };
            contract::product(cx, nx, &nest, &schedule, &panels, &weights, &Operands::plain(&patches, &products));
            let height = shape.height - (first * TILE).min(shape.height);
            let output = transform::Output { strip, limits: (height, shape.width), channels: outputs, saturates };
            output.write(cx, nx, operands, &products, &product);
        }
    }
}

/// The weights as nine packed matrices of bytes, and the step that turns them into 36 of 16-bit integers on the first run.
fn transformed_weights(cx: &mut Cx, nx: &NodeCx, contract: &Contract, shape: &Shape, panels: &Panels) -> View {
    let tensor = nx.constants[contract.b.operand].as_ref().expect("checked when the method was chosen");
    let b = linear(&nx.inputs[contract.b.operand], &contract.b.index, contract.axes.len());
    let values = tensor.as_slice::<i8>();
    let matrix = 2 * panels.elements();
    let mut plain = vec![0u8; 9 * matrix];
    let [of_m, of_kh, of_kw, of_c] = weight_strides(shape, &b);
    for (kh, kw, c) in taps(shape.channels) {
        let tap = b.base + kh * of_kh + kw * of_kw + c * of_c;
        let to = &mut plain[(3 * kh + kw) as usize * matrix..][..matrix];
        for (start, first, width) in panels.panels() {
            let row = start + (c as usize / 2) * width.next_multiple_of(4);
            for column in 0..width {
                to[2 * (row + column) + c as usize % 2] = values[(tap + (first + column) as i64 * of_m) as usize] as u8;
            }
        }
    }
    let plain = View::dense(Source::Weight(cx.weight(&nx.name, plain, nx.origin)), DType::I8, &[0]);
    let once = Once { name: "winograd_4x4_3x3_weights_i8", matrices: VALUES, before: matrix, after: 2 * matrix, step: 16 };
    once.write(cx, nx, &plain, |k, source, target| {
        let g: Vec<V<I16x8>> = (0..9).map(|i| k.let_("g", v128_load8x8_s(source, (i * matrix) as u32))).collect();
        let half: [_; 3] = std::array::from_fn(|j| transform::kernel_1d(k, [g[j], g[3 + j], g[6 + j]]));
        for (i, half) in transform::transposed(half).into_iter().enumerate() {
            for (j, value) in transform::kernel_1d(k, half).iter().enumerate() {
                k.store(target, ((i * PATCH + j) * 2 * matrix) as u32, *value);
            }
        }
    })
}
