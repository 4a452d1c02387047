//! Loop nests over several tensors at once: dimensions merged where all tensors allow it, split into tasks, walked by
//! pointers, the innermost one by vectors. It knows nothing of what is computed inside.

use crate::cx::Cx;
use crate::extent::{Extent, Size, SizeParams};
use crate::plan::Arg;
use crate::view::{View, linear};
use ir::Dim;
use ir::algorithm::Affine;
use kernel::{E, I32, K, V, i32_div_u, i32_eq, i32_ge_u, i32_lt_u, i32_rem_u, select};

/// Bytes that one task of a memory-bound kernel writes, about.
pub const TASK_BYTES: usize = 32 << 10;

/// A tensor as a nest walks it.
#[derive(Debug, Clone)]
pub struct Walk {
    pub view: View,
    /// Element of the source at which the nest starts.
    pub base: i64,
    /// Elements after `base` that are only known at run time.
    pub moving: Dim,
    /// Bytes from one step of each dimension to the next.
    pub strides: Vec<i64>,
}

impl Walk {
    /// The positions that `index` selects in a nest of `axes` axes.
    pub fn new(view: &View, index: &[Affine], axes: usize) -> Walk {
        let fixed: Vec<Affine> = index.iter().map(|i| Affine { offset: i.offset.as_const().unwrap_or(0).into(), ..i.clone() }).collect();
        let position = linear(view, &fixed, axes);
        let bytes = view.dtype.bytes() as i64;
        let moving = index.iter().zip(&view.strides).filter(|(i, _)| !i.offset.is_const());
        let moving = moving.fold(Dim::from(0), |sum, (i, stride)| sum + i.offset.clone() * *stride);
        Walk { view: view.clone(), base: position.base, moving, strides: position.strides.iter().map(|s| s * bytes).collect() }
    }

    /// One step per element of the view.
    pub fn of(view: &View) -> Walk {
        let bytes = view.dtype.bytes() as i64;
        let strides = view.strides.iter().map(|s| s * bytes).collect();
        Walk { view: view.clone(), base: view.offset, moving: 0.into(), strides }
    }

    /// The bytes after the pointer at which the nest starts, where they are only known at run time.
    fn moving_bytes(&self) -> Option<Dim> {
        (!self.moving.is_const()).then(|| self.moving.clone() * self.view.dtype.bytes())
    }
}

/// Dimensions and the tensors walked over them.
#[derive(Debug, Clone)]
pub struct Nest {
    pub dims: Vec<Extent>,
    pub walks: Vec<Walk>,
}

/// The parameters of a kernel over a nest.
pub struct Params {
    /// Where each walk starts.
    pub pointers: Vec<V<I32>>,
    pub dims: Vec<Size>,
    /// Of what else was asked for.
    pub others: Vec<Size>,
    args: Vec<Arg>,
    sizes: SizeParams,
}

impl Params {
    /// The values of the parameters.
    pub fn args(&self, cx: &mut Cx) -> Vec<Arg> {
        self.args.iter().copied().chain(self.sizes.dims().map(|dim| cx.size(dim))).collect()
    }
}

impl Nest {
    /// The same with the dimensions in another order.
    pub fn reordered(self, order: &[usize]) -> Nest {
        let walks = self.walks.into_iter().map(|w| Walk { strides: order.iter().map(|d| w.strides[*d]).collect(), ..w });
        Nest { dims: order.iter().map(|d| self.dims[*d].clone()).collect(), walks: walks.collect() }
    }

    /// Drops dimensions of size 1 and merges neighbours that all tensors walk as one; never across the boundary before
    /// dimension `boundary`, whose new position is returned.
    pub fn merge(&mut self, boundary: usize) -> usize {
        let mut dims: Vec<Extent> = vec![];
        let mut strides: Vec<Vec<i64>> = vec![vec![]; self.walks.len()];
        let mut new_boundary = 0;
        for (d, size) in self.dims.iter().enumerate() {
            if d == boundary {
                new_boundary = dims.len();
            }
            if size.is_one() {
                continue;
            }
            let fits = |(w, s): (&Walk, &Vec<i64>)| s.last().is_some_and(|outer| *outer == w.strides[d] * size.most as i64);
            let opens = dims.is_empty() || (d >= boundary && dims.len() == new_boundary);
            if !opens && !size.is_free() && self.walks.iter().zip(&strides).all(fits) {
                let outer = dims.last_mut().expect("not empty");
                *outer = outer.times(size);
                strides.iter_mut().zip(&self.walks).for_each(|(s, w)| *s.last_mut().expect("not empty") = w.strides[d]);
            } else {
                dims.push(size.clone());
                strides.iter_mut().zip(&self.walks).for_each(|(s, w)| s.push(w.strides[d]));
            }
        }
        if boundary >= self.dims.len() {
            new_boundary = dims.len();
        }
        self.dims = dims;
        self.walks.iter_mut().zip(strides).for_each(|(w, s)| w.strides = s);
        new_boundary
    }

    pub fn strides(&self) -> Vec<Vec<i64>> {
        self.walks.iter().map(|w| w.strides.clone()).collect()
    }

    /// Adds parameters to a kernel: pointers to the walks' starts, and the sizes of free dimensions and of `others`.
    pub fn params(&self, k: &mut K, name: impl Fn(usize) -> &'static str, others: &[Extent]) -> Params {
        let starts: Vec<V<I32>> = self.walks.iter().enumerate().map(|(i, w)| crate::cx::pointer(k, name(i), &w.view)).collect();
        let mut sizes = SizeParams::default();
        let dims = self.dims.iter().map(|d| sizes.size(k, d)).collect();
        let others = others.iter().map(|d| sizes.size(k, d)).collect();
        let mut pointers = vec![];
        for (walk, start) in self.walks.iter().zip(starts) {
            pointers.push(match walk.moving_bytes() {
                Some(bytes) => {
                    let by = sizes.get(k, &bytes);
                    k.let_("moved", start + by)
                }
                None => start,
            });
        }
        Params { pointers, dims, others, args: self.walks.iter().map(|w| w.view.arg_at(w.base)).collect(), sizes }
    }
}

/// How leading dimensions are divided among tasks: one index of each of the first `whole` dimensions, and `block`
/// indices of the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tasks {
    whole: usize,
    block: usize,
    /// Tasks when all sizes are the largest. Those beyond the actual sizes do nothing.
    pub count: u32,
}

impl Tasks {
    /// Tasks of about `target` points of `dims`; blocks of the last dimension are multiples of `multiple`.
    pub fn new(dims: &[Extent], target: usize, multiple: usize) -> Tasks {
        Tasks::aligned(dims, target, |d| if d + 1 == dims.len() { multiple } else { 1 })
    }

    /// Tasks of about `target` points of `dims`; blocks of dimension `d` are multiples of `multiple(d)`.
    pub fn aligned(dims: &[Extent], target: usize, multiple: impl Fn(usize) -> usize) -> Tasks {
        let dims: &[usize] = &dims.iter().map(|d| d.most).collect::<Vec<_>>();
        let target = target.max(1);
        let points = |d: usize| dims[d..].iter().product::<usize>();
        if points(0) <= target + target / 2 {
            return Tasks { whole: 0, block: dims.first().copied().unwrap_or(1), count: 1 };
        }
        let whole = (0..dims.len()).find(|d| points(d + 1) <= target).expect("the empty product is 1");
        let size = dims[whole];
        let unit = multiple(whole);
        let blocks = size.div_ceil((target / points(whole + 1)).max(1));
        // Equal blocks where a divisor is near: the remainder needs code of its own.
        let exact = (blocks..=blocks + blocks / 2 + 1).find(|n| size.is_multiple_of(*n) && (size / n).is_multiple_of(unit));
        let block = exact.map_or_else(|| size.div_ceil(blocks).next_multiple_of(unit), |n| size / n).min(size);
        let count = dims[..whole].iter().product::<usize>() * size.div_ceil(block);
        Tasks { whole, block, count: count as u32 }
    }

    /// Writes `body` for the task's part: it gets the moved pointers and the sizes of the remaining dimensions.
    pub fn emit(
        &self,
        k: &mut K,
        dims: &[Size],
        pointers: &[V<I32>],
        strides: &[Vec<i64>],
        mut body: impl FnMut(&mut K, &[V<I32>], &[Size]),
    ) {
        if self.count == 1 {
            return body(k, pointers, dims);
        }
        let blocks = dims[self.whole].most.div_ceil(self.block);
        let task = k.task();
        // Index of each dimension, in steps, and the factor that turns it into bytes of a stride.
        let mut indices: Vec<(E<I32>, i64)> = vec![];
        let mut rest: E<I32> = task.get();
        if blocks > 1 {
            indices.push((k.let_("block", i32_rem_u(rest.clone(), blocks)).get(), self.block as i64));
            rest = i32_div_u(rest, blocks);
        } else {
            indices.push((0.into(), 0));
        }
        for d in (0..self.whole).rev() {
            let index = if d == 0 { rest.clone() } else { i32_rem_u(rest.clone(), dims[d].most) };
            let index = k.let_("index", index);
            if let Some(now) = dims[d].now {
                k.if_(i32_ge_u(index, now), |k| k.return_());
            }
            indices.push((index.get(), 1));
            if d > 0 {
                rest = k.let_("rest", i32_div_u(rest, dims[d].most)).get();
            }
        }
        let moved: Vec<V<I32>> = pointers
            .iter()
            .zip(strides)
            .map(|(p, strides)| {
                let terms = indices.iter().zip(strides[..=self.whole].iter().rev());
                let address = terms.fold(p.get(), |sum, ((i, factor), s)| sum + i.clone() * (s * factor) as i32);
                k.in_local("start", address)
            })
            .collect();
        let mut sizes = dims[self.whole..].to_vec();
        if let Some(now) = sizes[0].now {
            let start = k.let_("first", indices[0].0.clone() * self.block as i32);
            k.if_(i32_ge_u(start, now), |k| k.return_());
            let left = k.let_("left", now - start);
            let here = k.let_("here", select::<I32>(i32_lt_u(left, self.block), left, self.block));
            sizes[0] = Size { most: self.block, now: Some(here) };
            return body(k, &moved, &sizes);
        }
        let last = sizes[0].most - (blocks - 1) * self.block;
        sizes[0] = self.block.into();
        if last == self.block {
            return body(k, &moved, &sizes);
        }
        let mut last_sizes = sizes.clone();
        last_sizes[0] = last.into();
        // The two arms need the same closure.
        let body = std::cell::RefCell::new(body);
        let is_last = i32_eq(indices[0].0.clone(), blocks - 1);
        k.if_else(is_last, |k| (body.borrow_mut())(k, &moved, &last_sizes), |k| (body.borrow_mut())(k, &moved, &sizes));
    }

    /// The strides that remain after [`Tasks::emit`].
    pub fn inner(&self, strides: &[Vec<i64>]) -> Vec<Vec<i64>> {
        let whole = if self.count == 1 { 0 } else { self.whole };
        strides.iter().map(|s| s[whole..].to_vec()).collect()
    }
}

/// Loops over all of `dims`, outermost first; the body gets the moved pointers.
pub fn loops<S>(k: &mut K, dims: &[S], pointers: &[V<I32>], strides: &[Vec<i64>], body: &mut dyn FnMut(&mut K, &[V<I32>]))
where
    for<'a> Size: From<&'a S>,
{
    let Some((size, inner)) = dims.split_first() else { return body(k, pointers) };
    let size = Size::from(size);
    let outer: Vec<i64> = strides.iter().map(|s| s[0]).collect();
    let rest: Vec<Vec<i64>> = strides.iter().map(|s| s[1..].to_vec()).collect();
    if size.most == 1 && size.now.is_none() {
        return loops(k, inner, pointers, &rest, body);
    }
    let unit = unit(&outer);
    k.for_("row", 0, size.times(unit), unit as u32, |k, i| {
        let moved: Vec<V<I32>> = pointers.iter().zip(&outer).map(|(p, s)| moved(k, *p, i, *s, unit)).collect();
        loops(k, inner, &moved, &rest, body);
    });
}

/// What a loop variable counts: bytes of the smallest stride if it divides all others, else steps.
fn unit(strides: &[i64]) -> usize {
    let least = strides.iter().filter(|s| **s != 0).map(|s| s.unsigned_abs()).min().unwrap_or(1);
    if strides.iter().all(|s| s.unsigned_abs() % least == 0) { least as usize } else { 1 }
}

fn moved(k: &mut K, pointer: V<I32>, i: V<I32>, stride: i64, unit: usize) -> V<I32> {
    if stride == 0 { pointer } else { k.let_("at", pointer + i * (stride / unit as i64) as i32) }
}

/// Covers `0..size` by vectors of four elements, `unroll` of them per pass of a loop. The body gets the number of the
/// vector within its pass, the addresses of its first elements and the number of elements (4, or less at the end).
pub fn vectors(
    k: &mut K,
    size: impl Into<Size>,
    unroll: usize,
    pointers: &[V<I32>],
    strides: &[i64],
    mut body: impl FnMut(&mut K, usize, &[E<I32>], usize),
) {
    let size = size.into();
    let pass = 4 * unroll;
    if size.now.is_some() {
        let unit = unit(strides);
        let address = |p: &V<I32>, stride: i64, element: usize| p.get() + (stride * element as i64) as i32;
        return stretches(k, size, pass, &mut |k, start, end, width| {
            k.for_("i", start * unit as i32, end * unit as i32, (width * unit) as u32, |k, i| {
                let moved: Vec<V<I32>> = pointers.iter().zip(strides).map(|(p, s)| moved(k, *p, i, *s, unit)).collect();
                for v in 0..width.div_ceil(4) {
                    let at: Vec<E<I32>> = moved.iter().zip(strides).map(|(p, s)| address(p, *s, 4 * v)).collect();
                    body(k, v, &at, width.min(4));
                }
            });
        });
    }
    let size = size.most;
    let full = if size < 2 * pass { 0 } else { size / pass * pass };
    let address = |p: &V<I32>, stride: i64, element: usize| p.get() + (stride * element as i64) as i32;
    if full > 0 {
        let unit = unit(strides);
        k.for_("i", 0, full * unit, (pass * unit) as u32, |k, i| {
            let moved: Vec<V<I32>> = pointers.iter().zip(strides).map(|(p, s)| moved(k, *p, i, *s, unit)).collect();
            for v in 0..unroll {
                let at: Vec<E<I32>> = moved.iter().zip(strides).map(|(p, s)| address(p, *s, 4 * v)).collect();
                body(k, v, &at, 4);
            }
        });
    }
    for (v, start) in (full..size).step_by(4).enumerate() {
        let at: Vec<E<I32>> = pointers.iter().zip(strides).map(|(p, s)| address(p, *s, start)).collect();
        body(k, v % unroll, &at, (size - start).min(4));
    }
}

/// Covers `0..size` by tiles of `tile`, a multiple of 4, as [`K::for_tiles`] does. A size that is only known at run time is
/// covered by loops over tiles of `tile`, of 4 and of 1.
pub fn tiles(k: &mut K, name: &str, size: impl Into<Size>, tile: usize, mut body: impl FnMut(&mut K, E<I32>, usize)) {
    let size = size.into();
    match size.now {
        None => k.for_tiles(name, size.most, tile, body),
        Some(_) => stretches(k, size, tile, &mut |k, start, end, width| {
            k.for_(name, start, end, width as u32, |k, at| body(k, at.get(), width));
        }),
    }
}

/// Writes the steps between two sizes, each so wide.
type Stretch<'a> = dyn FnMut(&mut K, E<I32>, E<I32>, usize) + 'a;

/// Parts of `0..size` with a whole number of steps each: of `pass`, of 4, of 1.
fn stretches(k: &mut K, size: Size, pass: usize, body: &mut Stretch<'_>) {
    let now = k.in_local("size", size.get());
    let mut start = E::from(0);
    let mut widths = vec![pass, 4, 1];
    widths.dedup();
    for width in widths {
        let end = if width == 1 { now } else { k.let_("whole", now - i32_rem_u(now, width)) };
        body(k, start, end.get(), width);
        start = end.get();
    }
}
