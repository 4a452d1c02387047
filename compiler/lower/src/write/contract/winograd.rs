//! Convolutions with stride 1 by Winograd's minimal filtering: F(4x4, 3x3) takes a quarter of the multiplications of the direct
//! form, F(4, 3) along one axis half of them, at the price of transforms and of float rounding (about 1e-5 of the largest
//! output). Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015.
//!
//! Per image and strip of tile rows: transform patches (of 6x6 inputs, say) to `[tile][36][C]`, multiply with 36 weight matrices, and
//! transform 36 products per tile back to 4x4 outputs with the epilogue. The weights are transformed in the module
//! (`filters.rs`), because they take four times the memory of the plain ones.

use super::filters::Weights;
use super::nest::{Nest, Product};
use super::points::Along;
use super::{Operands, transform};
use crate::LowerError;
use crate::cx::{Cx, NodeCx, pointer};
use crate::plan::Method;
use crate::schedule;
use crate::view::View;
use crate::write::pack::Panels;
use ir::algorithm::{Affine, Contract};
use ir::{DType, Dim};
use kernel::{I32, K, V, load};

/// Transformed patches and products of one strip should stay near the core: bytes of both together.
const STRIP_BYTES: usize = 2 << 20;
/// A row stride that is a multiple of this maps all tiles to the same cache sets.
const CACHE_WAY: usize = 4096;

/// Cycles per value and four channels of the transforms of a patch and of its products, and of a filter.
const CYCLES_PER_VALUE: f64 = 110.0 / 36.0;
const CYCLES_PER_WEIGHT: f64 = 70.0 / 36.0;

/// Numbers of axes of a convolution over one or two spatial axes, as `ir` orders them: n, spatial…, group, m, kernel…, c.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Axes {
    /// Rows and columns of the output; images of one axis are one row.
    pub row: Option<usize>,
    pub column: usize,
    group: usize,
    /// Output channels.
    pub output: usize,
    pub tap_row: Option<usize>,
    pub tap_column: usize,
    pub channel: usize,
}

impl Axes {
    const ONE: Axes = Axes { row: None, column: 1, group: 2, output: 3, tap_row: None, tap_column: 4, channel: 5 };
    const TWO: Axes = Axes { row: Some(1), column: 2, group: 3, output: 4, tap_row: Some(5), tap_column: 6, channel: 7 };
}

/// How both axes are filtered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    pub y: Along,
    pub x: Along,
    pub axes: Axes,
}

impl Form {
    /// The form for filters of so many rows and columns.
    fn of([rows, columns]: [usize; 2], axes: Axes) -> Option<Form> {
        let known = (rows, columns) == (3, 3) || (rows.min(columns) == 1 && rows.max(columns) > 1);
        if !known {
            return None;
        }
        Some(Form { y: Along::of(rows)?, x: Along::of(columns)?, axes })
    }

    /// Values per tile.
    pub fn values(&self) -> usize {
        self.y.patch() * self.x.patch()
    }

    /// Rows and columns of the filters.
    pub fn taps(&self) -> usize {
        self.y.taps * self.x.taps
    }

    pub fn is_square(&self) -> bool {
        self.y == self.x
    }

    /// Outputs and taps: `4x4_3x3`.
    pub fn name(&self) -> String {
        format!("{}x{}_{}x{}", self.y.tile, self.x.tile, self.y.taps, self.x.taps)
    }

    pub fn method(&self) -> Method {
        match (self.y.taps, self.x.taps) {
            (3, 3) => Method::Winograd,
            (3, 1) | (1, 3) => Method::Winograd3,
            (5, 1) | (1, 5) => Method::Winograd5,
            _ => Method::Winograd7,
        }
    }
}

/// The sizes of a convolution that minimal filtering can compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    pub form: Form,
    pub images: usize,
    pub height: usize,
    pub width: usize,
    pub channels: usize,
    pub outputs: usize,
}

impl Shape {
    /// The sizes, if `contract` is a convolution with stride and dilation 1, one group, channels last, and a filter that has a form.
    pub fn of(contract: &Contract) -> Option<Shape> {
        let extents = ir::dim::const_dims(&contract.axes)?;
        let (axes, height, taps) = match extents[..] {
            [_, height, _, _, _, rows, columns, _] => (Axes::TWO, height, [rows, columns]),
            [_, _, _, _, taps, _] => (Axes::ONE, 1, [1, taps]),
            _ => return None,
        };
        let form = Form::of(taps, axes)?;
        let slides = |index: &Affine, o: usize, k: usize| index.coefficient(o) == 1 && (extents[k] == 1 || index.coefficient(k) == 1);
        let (n, y, x, c) = match &contract.a.index[..] {
            [n, y, x, c] => (n, Some(y), x, c),
            [n, x, c] => (n, None, x, c),
            _ => return None,
        };
        let fits_y = match (y, axes.row, axes.tap_row) {
            (Some(y), Some(row), Some(tap)) => slides(y, row, tap),
            (None, None, None) => true,
            _ => false,
        };
        let fits = fits_y && n.coefficient(0) == 1 && slides(x, axes.column, axes.tap_column) && c.coefficient(axes.channel) == 1;
        let out_fits = contract.out.len() == contract.a.index.len()
            && contract.out[contract.out.len() - 1].coefficient(axes.output) == 1
            && contract.b.index[0].coefficient(axes.group) != 0;
        let shape = Shape {
            form,
            images: extents[0],
            height,
            width: extents[axes.column],
            channels: extents[axes.channel],
            outputs: extents[axes.output],
        };
        (fits && out_fits && extents[axes.group] == 1 && contract.a.pad.is_some()).then_some(shape)
    }

    pub fn tile_rows(&self) -> usize {
        self.height.div_ceil(self.form.y.tile)
    }
    pub fn tile_columns(&self) -> usize {
        self.width.div_ceil(self.form.x.tile)
    }

    /// Predicted cycles that this form saves; negative unless it is clearly faster than the direct one. Predicted for
    /// plain multiply-adds, so that all variants of a module agree.
    pub fn saved_cycles(&self) -> f64 {
        let tiles = self.tile_rows() * self.tile_columns();
        let product = schedule::choose(1, tiles, self.outputs, self.channels, false, None);
        let transforms = tiles * (self.channels.div_ceil(4) + self.outputs.div_ceil(4));
        let weights = self.channels * self.outputs.div_ceil(4);
        let values = self.form.values() as f64;
        let filtered = values * (product.cycles + CYCLES_PER_VALUE * transforms as f64 + CYCLES_PER_WEIGHT * weights as f64);
        let direct = schedule::choose(self.height, self.width, self.outputs, self.form.taps() * self.channels, false, None);
        self.images as f64 * (0.85 * direct.cycles - filtered)
    }

    /// Bytes of the fewest transformed weights that there can be at a time: of the widest panel.
    pub fn least_bytes(&self) -> u64 {
        4 * (self.form.values() * self.channels * 16.min(self.outputs.next_multiple_of(4))) as u64
    }
}

/// The axes with the output rounded up to whole tiles: what the patches reach over.
pub fn rounded_axes(contract: &Contract) -> Vec<Dim> {
    let form = Shape::of(contract).expect("checked when the method was chosen").form;
    let mut axes = contract.axes.clone();
    for (axis, along) in [(form.axes.row, form.y), (Some(form.axes.column), form.x)] {
        let Some(axis) = axis else { continue };
        let size = axes[axis].as_const().expect("bound size") as usize;
        axes[axis] = size.next_multiple_of(along.tile).into();
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

/// Bytes from tile to tile, for so many values of `channels` bytes: does not fall on one cache way.
pub fn row_bytes(values: usize, channels: usize) -> usize {
    let bytes = values * channels;
    if bytes.is_multiple_of(CACHE_WAY) { bytes + 64 } else { bytes }
}

/// Writes the convolution.
pub(super) fn write(cx: &mut Cx, nx: &NodeCx, contract: &Contract, operands: &Operands) -> Result<(), LowerError> {
    let shape = Shape::of(contract).expect("checked when the method was chosen");
    let form = shape.form;
    let tiles = shape.tile_rows() * shape.tile_columns();
    let schedule = schedule::choose(1, tiles, shape.outputs, shape.channels, cx.options.relaxed, cx.options.tiles);
    let panels = Panels { columns: shape.outputs, depth: shape.channels, vectors: schedule.vectors, gap: 0 };
    let weights = Weights::new(cx, nx, contract, &form, &panels);
    let [patch_bytes, product_bytes] = [shape.channels, shape.outputs].map(|n| row_bytes(form.values(), channels_bytes(n) as usize));
    let strips = strips(&shape, patch_bytes, product_bytes);
    let largest = strips.iter().map(|(_, rows)| rows * shape.tile_columns()).max().unwrap_or(0);
    let patches = cx.temporary(&format!("{} patches", nx.name), DType::F32, &[largest * patch_bytes / 4]);
    let products = cx.temporary(&format!("{} products", nx.name), DType::F32, &[largest * product_bytes / 4]);
    let mut there = None;
    for image in 0..shape.images {
        for (first, rows) in &strips {
            let strip = transform::Strip { columns: shape.tile_columns(), rows: *rows, first_row: *first, image };
            transform::input(cx, nx, &form, &strip, &operands.a, &operands.linears[0], shape.channels, &patches, patch_bytes);
            let tiles = rows * shape.tile_columns();
            let schedule = schedule::Schedule { runs: schedule::cut(tiles, schedule.rows.min(tiles)), ..schedule.clone() };
            for (i, block) in weights.blocks.iter().enumerate() {
                if there != Some(i) {
                    weights.transform(cx, nx, block);
                    there = Some(i);
                }
                let nest = Nest::product(&Product {
                    batches: (form.values(), [channels_bytes(shape.channels), channels_bytes(shape.outputs)]),
                    rows: (tiles, [patch_bytes as i64, product_bytes as i64]),
                    columns: block.panels.columns,
                    depth: shape.channels,
                });
                let mut product = Operands::plain(&patches, &products);
                product.linears[1].base = block.first_column as i64;
                product.is_part = i > 0;
                super::product(cx, nx, &nest, &schedule, &block.panels, &weights.transformed, &product);
            }
            let (height, width) = (shape.height - (first * form.y.tile).min(shape.height), shape.width);
            transform::output(cx, nx, &form, operands, &strip, (height, width), shape.outputs, &products, product_bytes);
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
