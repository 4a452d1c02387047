//! How many steps an axis has: a number, or an expression over the model's free symbols with its largest value. Outside of
//! kernels that is an [`Extent`], inside of one a [`Size`].
//!
//! Tensors with free sizes lie in memory as if every size were at its bound ([`room`]): all strides are constants, and what
//! a kernel gets at run time is the number of steps of its loops. A tile at the end of a free axis may run over into the
//! room behind it, which belongs to the tensor and which nobody reads as its contents.

use ir::{Dim, Symbols};
use kernel::{E, I32, K, V};

/// The number of steps of an axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// The number, or its largest value.
    pub most: usize,
    /// The number where it is not known before the run.
    pub free: Option<Dim>,
}

impl Extent {
    /// # Panics
    /// When the symbols do not bound the size: the caller has checked that.
    pub fn of(dim: &Dim, symbols: &Symbols) -> Extent {
        match dim.as_const() {
            Some(size) => Extent { most: size.max(0) as usize, free: None },
            None => {
                let most = dim.range(symbols).1.expect("a size with bounds");
                Extent { most: most.max(0) as usize, free: Some(dim.clone()) }
            }
        }
    }

    pub fn dim(&self) -> Dim {
        self.free.clone().unwrap_or_else(|| self.most.into())
    }

    pub fn is_free(&self) -> bool {
        self.free.is_some()
    }

    /// True when there is always exactly one step.
    pub fn is_one(&self) -> bool {
        self.most == 1 && self.free.is_none()
    }

    /// The steps of one loop instead of two.
    pub fn times(&self, inner: &Extent) -> Extent {
        let free = (self.is_free() || inner.is_free()).then(|| self.dim() * inner.dim());
        Extent { most: self.most * inner.most, free }
    }

    /// The extent as if it were always the largest.
    pub fn at_most(&self) -> Size {
        self.most.into()
    }
}

impl From<usize> for Extent {
    fn from(most: usize) -> Extent {
        Extent { most, free: None }
    }
}

impl std::fmt::Display for Extent {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match &self.free {
            Some(dim) => write!(f, "{dim}"),
            None => write!(f, "{}", self.most),
        }
    }
}

/// Steps by which a tile may run over the end of a free axis.
pub const OVERRUN: usize = 15;

/// Elements that a dimension of free size takes in memory.
pub fn room(most: usize) -> usize {
    (most + OVERRUN).next_multiple_of(OVERRUN + 1)
}

/// An extent inside a kernel.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// The number of steps, or its largest value.
    pub most: usize,
    /// Where the number is at run time, if it is not always `most`.
    pub now: Option<V<I32>>,
}

impl From<usize> for Size {
    fn from(most: usize) -> Size {
        Size { most, now: None }
    }
}

impl From<&usize> for Size {
    fn from(most: &usize) -> Size {
        (*most).into()
    }
}

impl From<&Size> for Size {
    fn from(size: &Size) -> Size {
        *size
    }
}

impl Size {
    /// The number, times a factor.
    pub fn times(&self, factor: usize) -> E<I32> {
        match self.now {
            None => (self.most * factor).into(),
            Some(now) if factor == 1 => now.get(),
            Some(now) => now * factor as i32,
        }
    }

    pub fn get(&self) -> E<I32> {
        self.times(1)
    }
}

/// The scalar parameters of a kernel that hold sizes, each once.
#[derive(Debug, Default)]
pub struct SizeParams {
    params: Vec<(Dim, V<I32>)>,
}

impl SizeParams {
    /// The parameter with the value of `dim`, added to the kernel where it is new.
    pub fn get(&mut self, k: &mut K, dim: &Dim) -> V<I32> {
        if let Some((_, param)) = self.params.iter().find(|(d, _)| d == dim) {
            return *param;
        }
        let param = k.scalar("size");
        self.params.push((dim.clone(), param));
        param
    }

    pub fn size(&mut self, k: &mut K, extent: &Extent) -> Size {
        Size { most: extent.most, now: extent.free.as_ref().map(|dim| self.get(k, dim)) }
    }

    /// What the parameters hold, in their order.
    pub fn dims(&self) -> impl Iterator<Item = &Dim> {
        self.params.iter().map(|(dim, _)| dim)
    }
}
