//! Loop nests over several tensors at once: dimensions merged where all tensors allow it, split into tasks, walked by
//! pointers, the innermost one by vectors. It knows nothing of what is computed inside.

use crate::plan::Arg;
use crate::view::{View, linear};
use ir::algorithm::Affine;
use kernel::{E, I32, K, V, i32_div_u, i32_eq, i32_rem_u};

/// Bytes that one task of a memory-bound kernel writes, about.
pub const TASK_BYTES: usize = 32 << 10;

/// A tensor as a nest walks it.
#[derive(Debug, Clone)]
pub struct Walk {
    pub view: View,
    /// Element of the source at which the nest starts.
    pub base: i64,
    /// Bytes from one step of each dimension to the next.
    pub strides: Vec<i64>,
}

impl Walk {
    /// The positions that `index` selects in a nest of `axes` axes.
    pub fn new(view: &View, index: &[Affine], axes: usize) -> Walk {
        let position = linear(view, index, axes);
        let bytes = view.dtype.bytes() as i64;
        Walk { view: view.clone(), base: position.base, strides: position.strides.iter().map(|s| s * bytes).collect() }
    }

    /// One step per element of the view.
    pub fn of(view: &View) -> Walk {
        let bytes = view.dtype.bytes() as i64;
        Walk { view: view.clone(), base: view.offset, strides: view.strides.iter().map(|s| s * bytes).collect() }
    }

    /// The parameter that points at the start.
    pub fn arg(&self) -> Arg {
        self.view.arg_at(self.base)
    }

    /// Adds that parameter to a kernel.
    pub fn pointer(&self, k: &mut K, name: &str) -> V<I32> {
        crate::cx::pointer(k, name, &self.view)
    }
}

/// Dimensions and the tensors walked over them.
#[derive(Debug, Clone)]
pub struct Nest {
    pub dims: Vec<usize>,
    pub walks: Vec<Walk>,
}

impl Nest {
    /// The same with the dimensions in another order.
    pub fn reordered(self, order: &[usize]) -> Nest {
        let walks = self.walks.into_iter().map(|w| Walk { strides: order.iter().map(|d| w.strides[*d]).collect(), ..w });
        Nest { dims: order.iter().map(|d| self.dims[*d]).collect(), walks: walks.collect() }
    }

    /// Drops dimensions of size 1 and merges neighbours that all tensors walk as one; never across the boundary before
    /// dimension `boundary`, whose new position is returned.
    pub fn merge(&mut self, boundary: usize) -> usize {
        let mut dims: Vec<usize> = vec![];
        let mut strides: Vec<Vec<i64>> = vec![vec![]; self.walks.len()];
        let mut new_boundary = 0;
        for (d, size) in self.dims.iter().copied().enumerate() {
            if d == boundary {
                new_boundary = dims.len();
            }
            if size == 1 {
                continue;
            }
            let fits = |(w, s): (&Walk, &Vec<i64>)| s.last().is_some_and(|outer| *outer == w.strides[d] * size as i64);
            let opens = dims.is_empty() || (d >= boundary && dims.len() == new_boundary);
            if !opens && self.walks.iter().zip(&strides).all(fits) {
                *dims.last_mut().expect("not empty") *= size;
                strides.iter_mut().zip(&self.walks).for_each(|(s, w)| *s.last_mut().expect("not empty") = w.strides[d]);
            } else {
                dims.push(size);
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

    pub fn args(&self) -> Vec<Arg> {
        self.walks.iter().map(Walk::arg).collect()
    }
}

/// How leading dimensions are divided among tasks: one index of each of the first `whole` dimensions, and `block`
/// indices of the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tasks {
    whole: usize,
    block: usize,
    pub count: u32,
}

impl Tasks {
    /// Tasks of about `target` points of `dims`; blocks of the last dimension are multiples of `multiple`.
    pub fn new(dims: &[usize], target: usize, multiple: usize) -> Tasks {
        Tasks::aligned(dims, target, |d| if d + 1 == dims.len() { multiple } else { 1 })
    }

    /// Tasks of about `target` points of `dims`; blocks of dimension `d` are multiples of `multiple(d)`.
    pub fn aligned(dims: &[usize], target: usize, multiple: impl Fn(usize) -> usize) -> Tasks {
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
        dims: &[usize],
        pointers: &[V<I32>],
        strides: &[Vec<i64>],
        mut body: impl FnMut(&mut K, &[V<I32>], &[usize]),
    ) {
        if self.count == 1 {
            return body(k, pointers, dims);
        }
        let blocks = dims[self.whole].div_ceil(self.block);
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
            let index = if d == 0 { rest.clone() } else { i32_rem_u(rest.clone(), dims[d]) };
            indices.push((k.let_("index", index).get(), 1));
            if d > 0 {
                rest = k.let_("rest", i32_div_u(rest, dims[d])).get();
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
        let last = sizes[0] - (blocks - 1) * self.block;
        sizes[0] = self.block;
        if last == self.block {
            return body(k, &moved, &sizes);
        }
        let mut last_sizes = sizes.clone();
        last_sizes[0] = last;
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
pub fn loops(k: &mut K, dims: &[usize], pointers: &[V<I32>], strides: &[Vec<i64>], body: &mut dyn FnMut(&mut K, &[V<I32>])) {
    let Some((&size, inner)) = dims.split_first() else { return body(k, pointers) };
    let outer: Vec<i64> = strides.iter().map(|s| s[0]).collect();
    let rest: Vec<Vec<i64>> = strides.iter().map(|s| s[1..].to_vec()).collect();
    if size == 1 {
        return loops(k, inner, pointers, &rest, body);
    }
    let unit = unit(&outer);
    k.for_("row", 0, size * unit, unit as u32, |k, i| {
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
    size: usize,
    unroll: usize,
    pointers: &[V<I32>],
    strides: &[i64],
    mut body: impl FnMut(&mut K, usize, &[E<I32>], usize),
) {
    let pass = 4 * unroll;
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
