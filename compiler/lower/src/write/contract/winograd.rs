//! Convolutions with 3x3 kernels and stride 1 by Winograd's minimal filtering F(4x4, 3x3): a quarter of the
//! multiplications of the direct form, at the price of transforms and of float rounding (about 1e-5 of the largest
//! output). Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015.
//!
//! Per image and strip of tile rows: transform 6x6 patches to `[tile][36][C]`, multiply with 36 weight matrices, and
//! transform 36 products per tile back to 4x4 outputs with the epilogue. The weights are transformed in the module
//! (`filters.rs`), because they take four times the memory of the plain ones.

use super::filters::Weights;
use super::nest::{Nest, Product};
use super::{Operands, transform};
use crate::LowerError;
use crate::cx::{Cx, NodeCx, pointer};
use crate::schedule;
use crate::view::View;
use crate::write::pack::Panels;
use ir::algorithm::{Affine, Contract};
use ir::{DType, Dim};
use kernel::{I32, K, V, load};

/// Outputs per tile and axis.
pub const TILE: usize = 4;
/// Inputs per tile and axis; values per tile is its square.
pub const PATCH: usize = TILE + 2;
pub const VALUES: usize = PATCH * PATCH;

/// Transformed patches and products of one strip should stay near the core: bytes of both together.
const STRIP_BYTES: usize = 2 << 20;
/// A row stride that is a multiple of this maps all tiles to the same cache sets.
const CACHE_WAY: usize = 4096;

/// The sizes of a convolution that this form can compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    pub images: usize,
    pub height: usize,
    pub width: usize,
    pub channels: usize,
    pub outputs: usize,
}

/// Axes of a two-dimensional convolution as `ir` numbers them: n, oh, ow, group, m, kh, kw, c.
const N: usize = 0;
const OH: usize = 1;
const OW: usize = 2;
const GROUP: usize = 3;
pub const M: usize = 4;
pub const KH: usize = 5;
pub const KW: usize = 6;
pub const C: usize = 7;

impl Shape {
    /// The sizes, if `contract` is a 3x3 convolution with stride and dilation 1, one group, channels last.
    pub fn of(contract: &Contract) -> Option<Shape> {
        let extents = ir::dim::const_dims(&contract.axes)?;
        let [images, height, width, 1, outputs, 3, 3, channels] = extents[..] else { return None };
        let slides = |index: &Affine, o: usize, k: usize| index.coefficient(o) == 1 && index.coefficient(k) == 1;
        let [n, y, x, c] = &contract.a.index[..] else { return None };
        let fits = n.coefficient(N) == 1 && slides(y, OH, KH) && slides(x, OW, KW) && c.coefficient(C) == 1;
        let out_fits = contract.out.len() == 4 && contract.out[3].coefficient(M) == 1 && contract.b.index[0].coefficient(GROUP) != 0;
        (fits && out_fits && contract.a.pad.is_some()).then_some(Shape { images, height, width, channels, outputs })
    }

    pub fn tile_rows(&self) -> usize {
        self.height.div_ceil(TILE)
    }
    pub fn tile_columns(&self) -> usize {
        self.width.div_ceil(TILE)
    }

    /// Predicted cycles that this form saves; negative unless it is clearly faster than the direct one. Predicted for
    /// plain multiply-adds, so that all variants of a module agree.
    pub fn saved_cycles(&self) -> f64 {
        let tiles = self.tile_rows() * self.tile_columns();
        let product = schedule::choose(1, tiles, self.outputs, self.channels, false, None);
        let transforms = tiles * (self.channels.div_ceil(4) + self.outputs.div_ceil(4));
        let weights = self.channels * self.outputs.div_ceil(4);
        let filtered = VALUES as f64 * product.cycles + 110.0 * transforms as f64 + 70.0 * weights as f64;
        let direct = schedule::choose(self.height, self.width, self.outputs, 9 * self.channels, false, None);
        self.images as f64 * (0.85 * direct.cycles - filtered)
    }

    /// Bytes of the fewest transformed weights that there can be at a time: of the widest panel.
    pub fn least_bytes(&self) -> u64 {
        4 * (VALUES * self.channels * 16.min(self.outputs.next_multiple_of(4))) as u64
    }
}

/// The axes with the output rounded up to whole tiles: what the patches reach over.
pub fn rounded_axes(contract: &Contract) -> Vec<Dim> {
    let mut axes = contract.axes.clone();
    for axis in [OH, OW] {
        let size = axes[axis].as_const().expect("bound size") as usize;
        axes[axis] = size.next_multiple_of(TILE).into();
    }
    axes
}

/// A choice of strips: images × strips of `rows` tile rows.
pub fn strips(shape: &Shape, patch_bytes: usize, product_bytes: usize) -> Vec<(usize, usize)> {
    let rows = shape.tile_rows();
    let per_row = shape.tile_columns() * (patch_bytes + product_bytes);
    let most = (STRIP_BYTES / per_row).clamp(1, rows);
    let count = rows.div_ceil(most);
    let each = rows.div_ceil(count);
    (0..rows).step_by(each).map(|first| (first, each.min(rows - first))).collect()
}

/// Bytes from tile to tile, for values of `channels` bytes: does not fall on one cache way.
pub fn row_bytes(channels: usize) -> usize {
    let bytes = VALUES * channels;
    if bytes.is_multiple_of(CACHE_WAY) { bytes + 64 } else { bytes }
}

/// Writes the convolution.
pub(super) fn write(cx: &mut Cx, nx: &NodeCx, contract: &Contract, operands: &Operands) -> Result<(), LowerError> {
    let shape = Shape::of(contract).expect("checked when the method was chosen");
    let tiles = shape.tile_rows() * shape.tile_columns();
    let schedule = schedule::choose(1, tiles, shape.outputs, shape.channels, cx.options.relaxed, cx.options.tiles);
    let panels = Panels { columns: shape.outputs, depth: shape.channels, vectors: schedule.vectors, gap: 0 };
    let weights = Weights::new(cx, nx, contract, &panels);
    let (patch_bytes, product_bytes) =
        (row_bytes(channels_bytes(shape.channels) as usize), row_bytes(channels_bytes(shape.outputs) as usize));
    let strips = strips(&shape, patch_bytes, product_bytes);
    let largest = strips.iter().map(|(_, rows)| rows * shape.tile_columns()).max().unwrap_or(0);
    let patches = cx.temporary(&format!("{} patches", nx.name), DType::F32, &[largest * patch_bytes / 4]);
    let products = cx.temporary(&format!("{} products", nx.name), DType::F32, &[largest * product_bytes / 4]);
    let mut there = None;
    for image in 0..shape.images {
        for (first, rows) in &strips {
            let strip = transform::Strip { columns: shape.tile_columns(), rows: *rows, first_row: *first, image };
            transform::input(cx, nx, &strip, &operands.a, &operands.linears[0], shape.channels, &patches, patch_bytes);
            let tiles = rows * shape.tile_columns();
            let schedule = schedule::Schedule { runs: schedule::cut(tiles, schedule.rows.min(tiles)), ..schedule.clone() };
            for (i, block) in weights.blocks.iter().enumerate() {
                if there != Some(i) {
                    weights.transform(cx, nx, block);
                    there = Some(i);
                }
                let nest = Nest::product(&Product {
                    batches: (VALUES, [channels_bytes(shape.channels), channels_bytes(shape.outputs)]),
                    rows: (tiles, [patch_bytes as i64, product_bytes as i64]),
                    columns: block.panels.columns,
                    depth: shape.channels,
                });
                let mut product = Operands::plain(&patches, &products);
                product.linears[1].base = block.first_column as i64;
                product.is_part = i > 0;
                super::product(cx, nx, &nest, &schedule, &block.panels, &weights.transformed, &product);
            }
            let (height, width) = (shape.height - (first * TILE).min(shape.height), shape.width);
            transform::output(cx, nx, operands, &strip, (height, width), shape.outputs, &products, product_bytes);
        }
    }
    Ok(())
}

fn channels_bytes(channels: usize) -> i64 {
    4 * channels.next_multiple_of(4) as i64
}

/// A step that brings weights into another form, once, in the module's first run: the form stays in a persistent buffer.
pub struct Once<'a> {
    pub name: &'a str,
    /// Matrices of the new form.
    pub matrices: usize,
    /// Bytes of a matrix before, and after: as many, or twice as many.
    pub before: usize,
    pub after: usize,
    /// Bytes of each matrix that are made at a time.
    pub step: usize,
}

impl Once<'_> {
    /// Adds the step; the new form. `body(k, source, target)` makes `step` bytes of each matrix.
    pub fn write(&self, cx: &mut Cx, nx: &NodeCx, plain: &View, body: impl FnOnce(&mut K, V<I32>, V<I32>)) -> View {
        let pieces = self.after / self.step;
        let per_task = pieces.div_ceil(64).max(256).min(pieces);
        let tasks = pieces.div_ceil(per_task);
        let transformed = cx.persistent(&format!("{} transformed", nx.name), self.matrices * self.after);
        let done = cx.persistent(&format!("{} transformed?", nx.name), 4 * tasks);
        let mut k = K::new(self.name);
        let (from, to, flags) = (pointer(&mut k, "from", plain), pointer(&mut k, "to", &transformed), pointer(&mut k, "done", &done));
        let task = k.task();
        let flag = k.let_("flag", flags + task * 4);
        k.if_(kernel::i32_eqz(load::<I32>(flag, 0)), |k| {
            let start = k.let_("start", task * (per_task * self.step) as i32);
            let end = k.let_("end", start + (per_task * self.step) as i32);
            let end = k.let_("end", kernel::select::<I32>(kernel::i32_lt_u(end, self.after), end, self.after));
            k.for_("at", start, end, self.step as u32, |k, at| {
                let from_at = if self.before == self.after { at.get() } else { kernel::i32_shr_u(at, 1) };
                let source = k.let_("source", from + from_at);
                let target = k.let_("target", to + at);
                body(k, source, target);
            });
            k.store::<I32>(flag, 0, 1);
        });
        let args = vec![plain.arg_at(0), transformed.arg_at(0), done.arg_at(0)];
        cx.step(k.finish(), args, tasks as u32, 0, nx.origin, &[&transformed, &done], &[&transformed, &done]);
        transformed
    }
}
