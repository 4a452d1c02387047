//! Copies of strided boxes inside a kernel: runs, repeated elements, transposes in registers, single elements. Blind to
//! element types: it moves 1, 2, 4 or 8 bytes.

use crate::extent::Size;
use crate::lanes::zero;
use crate::write::nest::{loops, tiles, vectors};
use kernel::*;

/// Runs of this many bytes are left to `memory.copy`, which costs a call.
const LONG_RUN: usize = 256;

/// A box to copy, and the bytes from one step of each dimension to the next.
#[derive(Debug, Clone)]
pub struct Box {
    pub dims: Vec<Size>,
    pub from: Vec<i64>,
    pub to: Vec<i64>,
    /// Size of an element.
    pub bytes: usize,
}

/// How the innermost dimensions of a box are moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Contiguous on both sides.
    Run,
    /// One element fills a contiguous run.
    Repeat,
    /// The last two dimensions change places, four by four elements of four bytes.
    Transpose,
    /// Element by element.
    Single,
}

impl Box {
    pub fn form(&self) -> Form {
        let bytes = self.bytes as i64;
        let last = self.dims.len().wrapping_sub(1);
        match (self.from.last(), self.to.last()) {
            (Some(from), Some(to)) if *to == bytes => match from {
                from if *from == bytes => Form::Run,
                0 => Form::Repeat,
                _ if self.bytes == 4 && last > 0 && self.from[last - 1] == 4 => Form::Transpose,
                _ => Form::Single,
            },
            _ => Form::Single,
        }
    }

    /// The order of the dimensions in which a transpose can be seen: the one contiguous in the source comes last but one.
    pub fn order(&self) -> Vec<usize> {
        let last = self.dims.len().wrapping_sub(1);
        let mut order: Vec<usize> = (0..self.dims.len()).collect();
        if self.bytes == 4
            && self.form() == Form::Single
            && self.to.last() == Some(&4)
            && let Some(at) = (0..last).find(|d| self.from[*d] == 4 && self.dims[*d].most > 1)
        {
            order.remove(at);
            order.insert(last - 1, at);
        }
        order
    }

    /// Elements to which blocks of dimension `d` must be aligned.
    pub fn multiple(&self, d: usize) -> usize {
        match self.form() {
            Form::Transpose if d + 2 == self.dims.len() => COLUMNS,
            Form::Transpose if d + 1 == self.dims.len() => 4,
            _ if d + 1 == self.dims.len() => 64 / self.bytes,
            _ => 1,
        }
    }
}

/// Copies a box from where `src` points to where `dst` points. The two do not overlap.
pub fn copy(k: &mut K, shape: &Box, src: V<I32>, dst: V<I32>) {
    let inner = match shape.form() {
        Form::Transpose => 2,
        _ => 1.min(shape.dims.len()),
    };
    let outer = shape.dims.len() - inner;
    let strides = [shape.from[..outer].to_vec(), shape.to[..outer].to_vec()];
    let inner =
        Box { dims: shape.dims[outer..].to_vec(), from: shape.from[outer..].to_vec(), to: shape.to[outer..].to_vec(), bytes: shape.bytes };
    let form = shape.form();
    loops(k, &shape.dims[..outer], &[src, dst], &strides, &mut |k, p| match form {
        Form::Run => match inner.dims[0].now {
            Some(_) => k.copy(p[1], p[0], inner.dims[0].times(inner.bytes)),
            None => run(k, p[0], p[1], inner.dims[0].most * inner.bytes),
        },
        Form::Repeat => {
            let value = k.let_("value", load_splat(p[0], inner.bytes));
            fill(k, p[1], inner.dims[0], inner.bytes, value);
        }
        Form::Transpose => transpose(k, &inner, p[0], p[1]),
        Form::Single if inner.dims.is_empty() => single(k, p[0].get(), p[1].get(), inner.bytes),
        Form::Single => vectors(k, inner.dims[0], 1, p, &[inner.from[0], inner.to[0]], |k, _, at, n| {
            for i in 0..n as i64 {
                let (from, to) = ((inner.from[0] * i) as i32, (inner.to[0] * i) as i32);
                single(k, at[0].clone() + from, at[1].clone() + to, inner.bytes);
            }
        }),
    });
}

fn load_splat(at: V<I32>, bytes: usize) -> E<V128> {
    match bytes {
        1 => load_splat8(at, 0),
        2 => load_splat16(at, 0),
        4 => load_splat32(at, 0),
        _ => load_splat64(at, 0),
    }
}

fn single(k: &mut K, src: E<I32>, dst: E<I32>, bytes: usize) {
    match bytes {
        1 => k.store8(dst, 0, i32_load8_u(src, 0)),
        2 => k.store16(dst, 0, i32_load16_u(src, 0)),
        4 => k.store(dst, 0, load::<I32>(src, 0)),
        _ => k.store(dst, 0, load::<I64>(src, 0)),
    }
}

/// `(offset, bytes)` of the accesses that cover `len` bytes: all of one size, the last one reaching back.
fn pieces(len: usize) -> Vec<(usize, usize)> {
    let size = [16, 8, 4, 2, 1].into_iter().find(|s| *s <= len).unwrap_or(1);
    let mut pieces: Vec<_> = (0..len / size).map(|i| (i * size, size)).collect();
    if !len.is_multiple_of(size) {
        pieces.push((len - size, size));
    }
    pieces
}

/// Copies `len` bytes.
fn run(k: &mut K, src: V<I32>, dst: V<I32>, len: usize) {
    if len >= LONG_RUN {
        return k.copy(dst, src, len);
    }
    for (offset, size) in pieces(len) {
        let at = offset as u32;
        match size {
            16 => k.store(dst, at, load::<V128>(src, at)),
            8 => k.store(dst, at, load::<I64>(src, at)),
            4 => k.store(dst, at, load::<I32>(src, at)),
            2 => k.store16(dst, at, i32_load16_u(src, at)),
            _ => k.store8(dst, at, i32_load8_u(src, at)),
        }
    }
}

/// Fills `size` elements of `bytes` bytes with a repeated element.
pub fn fill(k: &mut K, dst: V<I32>, size: Size, bytes: usize, value: V<V128>) {
    if size.now.is_none() {
        return fill_bytes(k, dst, size.most * bytes, value);
    }
    let len = k.let_("len", size.times(bytes));
    let whole = k.let_("whole", len & -16);
    k.for_("i", 0, whole, 16, |k, i| k.store(dst + i, 0, value));
    k.for_("i", whole, len, bytes as u32, |k, i| store_first(k, dst + i, 0, bytes, value));
}

/// Stores the first bytes of a vector.
fn store_first(k: &mut K, at: E<I32>, offset: u32, bytes: usize, value: V<V128>) {
    match bytes {
        16 => k.store(at, offset, value),
        8 => k.store_lane::<8>(at, offset, value.get(), 0),
        4 => k.store_lane::<4>(at, offset, value.get(), 0),
        2 => k.store_lane::<2>(at, offset, value.get(), 0),
        _ => k.store_lane::<1>(at, offset, value.get(), 0),
    }
}

/// Fills `len` bytes, a whole number of elements, with a repeated element.
pub fn fill_bytes(k: &mut K, dst: V<I32>, len: usize, value: V<V128>) {
    let pass = 64;
    let full = if len < 2 * pass { 0 } else { len / pass * pass };
    if full > 0 {
        k.for_("i", 0, full, pass as u32, |k, i| {
            let at = k.let_("at", dst + i);
            (0..4).for_each(|v| k.store(at, 16 * v, value));
        });
    }
    if full == len {
        return;
    }
    // A short rest after a loop reaches back into it.
    let start = if full > 0 && len - full < 16 { len - 16 } else { full };
    for (offset, size) in pieces(len - start) {
        store_first(k, dst.get(), (start + offset) as u32, size, value);
    }
}

/// Columns that are moved together: a cache line of them.
const COLUMNS: usize = 16;

/// Two dimensions that change places: the first is contiguous in the source, the second in the destination. Blocks of
/// columns are outermost, so that the lines in use are few, however far apart.
fn transpose(k: &mut K, shape: &Box, src: V<I32>, dst: V<I32>) {
    let (columns, rows) = (shape.dims[0], shape.dims[1]);
    let (from, to) = (shape.from[1], shape.to[0]);
    tiles(k, "column", columns, COLUMNS, |k, column, n_columns| {
        let (src, dst) = (k.let_("src", src + column.clone() * 4), k.let_("dst", dst + column * to as i32));
        let parts = || (0..n_columns).step_by(4).map(|c| (c as i32, (n_columns - c).min(4)));
        if rows.most == 3 && rows.now.is_none() && to == 12 {
            for (c, n) in parts() {
                let (src, dst) = (src + c * 4, dst + c * 12);
                if n == 4 { interleave3(k, from, src, dst) } else { tile(k, [from, to], [3, n], src, dst) }
            }
            return;
        }
        tiles(k, "row", rows, 4, |k, row, n_rows| {
            let (src, dst) = (k.let_("src", src + row.clone() * from as i32), k.let_("dst", dst + row * 4));
            parts().for_each(|(c, n)| tile(k, [from, to], [n_rows, n], src + c * 4, dst + c * to as i32));
        });
    });
}

/// Four rows of four, or less.
fn tile(k: &mut K, [from, to]: [i64; 2], [n_rows, n_columns]: [usize; 2], src: E<I32>, dst: E<I32>) {
    let rows: Vec<E<I32x4>> = (0..4)
        .map(|r| {
            if r >= n_rows {
                return zero();
            }
            k.let_("row", load_partial::<I32x4>(src.clone() + (from * r as i64) as i32, 0, n_columns)).get()
        })
        .collect();
    let mut pair = |lanes: [u8; 4], a: usize, b: usize| k.let_("pair", shuffle32::<I32x4>(lanes, &rows[a], &rows[b]));
    let low = [pair([0, 4, 1, 5], 0, 1), pair([0, 4, 1, 5], 2, 3)];
    let high = [pair([2, 6, 3, 7], 0, 1), pair([2, 6, 3, 7], 2, 3)];
    for c in 0..n_columns {
        let [a, b] = if c < 2 { low } else { high };
        let column = shuffle64::<I32x4>(if c % 2 == 0 { [0, 2] } else { [1, 3] }, a, b);
        k.store_partial::<I32x4>(dst.clone() + (to * c as i64) as i32, 0, column, n_rows);
    }
}

/// Three rows of four elements become four adjacent triples.
fn interleave3(k: &mut K, from: i64, src: E<I32>, dst: E<I32>) {
    let mut row = |r: i64| k.let_("row", load::<I32x4>(src.clone() + (from * r) as i32, 0));
    let (a, b, c) = (row(0), row(1), row(2));
    let low = k.let_("low", shuffle32::<I32x4>([0, 4, 1, 5], a, b));
    let high = k.let_("high", shuffle32::<I32x4>([2, 6, 3, 7], a, b));
    k.store(dst.clone(), 0, shuffle32::<I32x4>([0, 1, 4, 2], low, c));
    k.store(dst.clone(), 16, shuffle64::<I32x4>([0, 2], shuffle32::<I32x4>([3, 5, 0, 0], low, c), high.get()));
    k.store(dst, 32, shuffle32::<I32x4>([6, 2, 3, 7], high, c));
}
