//! Constant tensors: a dtype, a shape and row-major little-endian bytes. Storage only; arithmetic lives in the operators.

use crate::dtype::{Class, DType, Element};
use crate::for_dtype;

/// A dense row-major tensor. The storage is 8-byte aligned, so that it can be viewed as any element type.
#[derive(Clone, PartialEq)]
pub struct Tensor {
    pub dtype: DType,
    pub shape: Vec<usize>,
    words: Vec<u64>,
}

impl Tensor {
    /// All elements zero (or `false`).
    pub fn zeros(dtype: DType, shape: &[usize]) -> Tensor {
        let bytes = shape.iter().product::<usize>() * dtype.bytes();
        Tensor { dtype, shape: shape.to_vec(), words: vec![0; bytes.div_ceil(8)] }
    }

    /// Takes `shape.product()` elements in row-major order.
    ///
    /// # Panics
    /// When the number of elements differs from the shape's.
    pub fn new<T: Element>(shape: &[usize], data: &[T]) -> Tensor {
        assert_eq!(data.len(), shape.iter().product::<usize>(), "elements of shape {shape:?}");
        let mut t = Tensor::zeros(T::DTYPE, shape);
        t.as_mut_slice().copy_from_slice(data);
        t
    }

    /// A tensor of rank 0.
    pub fn scalar<T: Element>(x: T) -> Tensor {
        Tensor::new(&[], &[x])
    }

    /// Builds from raw little-endian bytes; `None` when their number does not fit the shape.
    pub fn from_bytes(dtype: DType, shape: &[usize], bytes: &[u8]) -> Option<Tensor> {
        let n = shape.iter().try_fold(dtype.bytes(), |n, d| n.checked_mul(*d))?;
        if n != bytes.len() {
            return None;
        }
        let mut t = Tensor::zeros(dtype, shape);
        t.bytes_mut().copy_from_slice(bytes);
        Some(t)
    }

    /// One element per index, computed by `f` (in `f64`, then converted).
    pub fn from_fn(dtype: DType, shape: &[usize], mut f: impl FnMut(usize) -> f64) -> Tensor {
        let mut t = Tensor::zeros(dtype, shape);
        for_dtype!(dtype, T => {
            for (i, x) in t.as_mut_slice::<T>().iter_mut().enumerate() {
                *x = T::from_f64(f(i));
            }
        });
        t
    }

    /// Reproducible pseudo-random elements: floats in [−1, 1), signed integers in −8..8, unsigned ones in 0..16.
    pub fn random(dtype: DType, shape: &[usize], seed: u64) -> Tensor {
        let mut state = seed;
        Tensor::from_fn(dtype, shape, |_| {
            // SplitMix64 (Steele, Lea, Flood 2014).
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let bits = z ^ (z >> 31);
            match dtype.class() {
                // 24 bits, so that f32 rounds nothing up to 1.
                Class::Float => (bits >> 40) as f64 / f64::from(1 << 23) - 1.0,
                Class::Signed => (bits >> 60) as f64 - 8.0,
                Class::Unsigned => (bits >> 60) as f64,
                Class::Bool => (bits >> 63) as f64,
            }
        })
    }

    /// A hash of element type, shape and bytes (FNV-1a over 64-bit words); the same on every machine. Equal tensors have
    /// equal hashes; different ones may collide.
    pub fn content_hash(&self) -> u64 {
        let step = |hash: u64, word: u64| (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
        let head = [self.dtype as u64, self.shape.len() as u64].into_iter().chain(self.shape.iter().map(|d| *d as u64));
        head.chain(self.words.iter().copied()).fold(0xcbf2_9ce4_8422_2325, step)
    }

    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    pub fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.len() * self.dtype.bytes()]
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let n = self.len() * self.dtype.bytes();
        &mut bytemuck::cast_slice_mut(&mut self.words)[..n]
    }

    /// The elements.
    ///
    /// # Panics
    /// When `T` is not the element type.
    pub fn as_slice<T: Element>(&self) -> &[T] {
        assert_eq!(T::DTYPE, self.dtype);
        bytemuck::cast_slice(self.bytes())
    }

    /// The elements, to be written.
    ///
    /// # Panics
    /// When `T` is not the element type.
    pub fn as_mut_slice<T: Element>(&mut self) -> &mut [T] {
        assert_eq!(T::DTYPE, self.dtype);
        bytemuck::cast_slice_mut(self.bytes_mut())
    }

    /// Element `i` in row-major order, as `f64`.
    pub fn get_f64(&self, i: usize) -> f64 {
        for_dtype!(self.dtype, T => self.as_slice::<T>()[i].to_f64())
    }

    /// All elements as `f64`.
    pub fn to_f64s(&self) -> Vec<f64> {
        for_dtype!(self.dtype, T => self.as_slice::<T>().iter().map(|x| x.to_f64()).collect())
    }

    /// All elements as `i64` (floats truncate).
    pub fn to_i64s(&self) -> Vec<i64> {
        for_dtype!(self.dtype, T => self.as_slice::<T>().iter().map(|x| x.to_i64()).collect())
    }

    /// The same elements under another shape of the same size.
    ///
    /// # Panics
    /// When the sizes differ.
    pub fn reshaped(mut self, shape: &[usize]) -> Tensor {
        assert_eq!(self.len(), shape.iter().product::<usize>());
        self.shape = shape.to_vec();
        self
    }

    /// `out[i] = self[source(i)]` for every index of `shape`; `None` leaves zero.
    pub fn gather_elements(&self, shape: &[usize], mut source: impl FnMut(&[usize]) -> Option<usize>) -> Tensor {
        let mut out = Tensor::zeros(self.dtype, shape);
        let size = self.dtype.bytes();
        let from = self.bytes();
        let to = out.bytes_mut();
        let mut i = 0;
        for_each_index(shape, |index| {
            if let Some(s) = source(index) {
                to[i * size..][..size].copy_from_slice(&from[s * size..][..size]);
            }
            i += 1;
        });
        out
    }
}

impl std::fmt::Debug for Tensor {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{}{:?} = ", self.dtype, self.shape)?;
        let shown: Vec<f64> = (0..self.len().min(8)).map(|i| self.get_f64(i)).collect();
        write!(f, "{shown:?}{}", if self.len() > 8 { "…" } else { "" })
    }
}

/// Row-major strides of a shape, in elements.
pub fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1usize; shape.len()];
    for d in (1..shape.len()).rev() {
        // Sizes beyond any memory are errors of whoever allocates.
        strides[d - 1] = strides[d].saturating_mul(shape[d]);
    }
    strides
}

/// Every index of a shape in row-major order. A shape with a zero has none; rank 0 has one.
pub fn indices(shape: &[usize]) -> impl Iterator<Item = Vec<usize>> + use<> {
    let shape = shape.to_vec();
    let total: usize = shape.iter().product();
    let mut index = vec![0; shape.len()];
    (0..total).map(move |i| {
        if i > 0 {
            advance(&mut index, &shape);
        }
        index.clone()
    })
}

/// [`indices`] without an allocation per index.
pub fn for_each_index(shape: &[usize], mut f: impl FnMut(&[usize])) {
    let mut index = vec![0; shape.len()];
    for i in 0..shape.iter().product() {
        if i > 0 {
            advance(&mut index, shape);
        }
        f(&index);
    }
}

/// The next index in row-major order.
fn advance(index: &mut [usize], shape: &[usize]) {
    for (i, d) in index.iter_mut().zip(shape).rev() {
        *i += 1;
        if *i < *d {
            break;
        }
        *i = 0;
    }
}

/// Numpy broadcasting of two or more shapes; `None` when they do not fit.
pub fn broadcast_shapes(shapes: &[&[usize]]) -> Option<Vec<usize>> {
    let rank = shapes.iter().map(|s| s.len()).max().unwrap_or(0);
    let mut out = vec![1; rank];
    for shape in shapes {
        for (o, &d) in out[rank - shape.len()..].iter_mut().zip(*shape) {
            match (*o, d) {
                (1, _) => *o = d,
                (_, 1) => {}
                (a, b) if a == b => {}
                _ => return None,
            }
        }
    }
    Some(out)
}
