//! Irregular operators in plain Rust: the ones that are neither loop nests nor views. Nothing here that a schedule could speed up.
//!
//! Each routine is one function of a [`Call`]: inputs, outputs, integers, floats and scratch memory. The evaluator calls it
//! natively; the runtime exports it with a kernel's signature and the linker keeps the ones that a module uses ([`frame`]).
//! No allocation, no `fmt`, no panics, no static data: the garbage collector of the linker keeps every byte of read-only data.
#![no_std]

pub mod frame;
pub mod tensor;

mod conv;
mod cumulate;
mod detect;
mod dynamic;
mod linear;
mod pool;
mod random;
mod resize;
mod sample;
mod scatter;
mod select;
mod sort;

pub use abi::Status;
pub use tensor::{DType, Tensor, TensorMut};

/// Most inputs and outputs that a routine has.
pub const MAX_INPUTS: usize = 6;
pub const MAX_OUTPUTS: usize = 4;

/// What a routine works on.
pub struct Call<'m> {
    pub inputs: [Tensor<'m>; MAX_INPUTS],
    pub outputs: [TensorMut<'m>; MAX_OUTPUTS],
    /// Attributes; their meaning is the routine's.
    pub ints: &'m [i64],
    pub floats: &'m [f64],
    /// Memory without contents, as large as the routine's scratch function says.
    pub scratch: &'m mut [u64],
}

impl Call<'_> {
    /// Attribute `i`; 0 when there are fewer.
    pub fn int(&self, i: usize) -> i64 {
        self.ints.get(i).copied().unwrap_or(0)
    }
    pub fn float(&self, i: usize) -> f64 {
        self.floats.get(i).copied().unwrap_or(0.0)
    }
}

/// Why a routine stopped: a status and its detail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    pub status: Status,
    pub detail: u32,
}

pub type Done = Result<(), Failure>;

/// A size that was counted at run time is not the one that memory was planned for.
pub(crate) fn expect_size(found: usize, planned: usize) -> Done {
    if found == planned { Ok(()) } else { fail(Status::SizeOutOfBounds, found) }
}

pub(crate) fn fail<T>(status: Status, detail: usize) -> Result<T, Failure> {
    Err(Failure { status, detail: detail as u32 })
}

/// The shapes of a call, for scratch functions.
#[derive(Clone, Copy)]
pub struct Shapes<'a> {
    pub inputs: &'a [&'a [usize]],
    pub outputs: &'a [&'a [usize]],
    pub ints: &'a [i64],
}

impl Shapes<'_> {
    pub(crate) fn input(&self, i: usize) -> &[usize] {
        self.inputs.get(i).copied().unwrap_or(&[])
    }
    pub(crate) fn output(&self, i: usize) -> &[usize] {
        self.outputs.get(i).copied().unwrap_or(&[])
    }
}

/// One row of the table.
pub struct Routine {
    pub name: &'static str,
    pub run: fn(&mut Call) -> Done,
    /// Scratch memory in 8-byte words.
    pub scratch: fn(&Shapes) -> usize,
}

fn no_scratch(_: &Shapes) -> usize {
    0
}

/// The table of all routines, as rows `name module::function, scratch_function`, given to a macro.
#[macro_export]
macro_rules! for_each_routine {
    ($table:ident) => {
        $table! {
            /// Inputs: a tensor, then axes: sums, products, minima or maxima along axes that are known at run time only.
            reduce_axes dynamic::reduce_axes, no_scratch;
            /// Fails unless a list of integers has the expected elements.
            check_sizes dynamic::check_sizes, no_scratch;
            /// Fails unless squeezing, or unsqueezing, along these axes gives the expected shape.
            check_axes dynamic::check_axes, no_scratch;
            /// Fails unless a loop that ends has made, and one that goes on has not yet made, so many iterations.
            check_trips dynamic::check_trips, no_scratch;
            /// Starts, ends, axes and steps from tensors.
            dynamic_slice dynamic::slice, no_scratch;
            /// Pads, value and axes from tensors.
            dynamic_pad dynamic::pad, no_scratch;
            /// The k largest or smallest elements along an axis, in order, and where they are.
            top_k sort::top_k, sort::top_k_scratch;
            /// Different elements or slices, where each first occurs, the number of each element's, and counts.
            unique sort::unique, sort::unique_scratch;
            /// Indices of the elements that are not zero.
            nonzero select::nonzero, no_scratch;
            /// The slices that a list of bools chooses.
            compress select::compress, no_scratch;
            /// Fails with the index that it is given.
            index_out_of_range scatter::index_out_of_range, no_scratch;
            /// One element of an axis per index.
            gather_elements scatter::gather_elements, no_scratch;
            /// Slices by tuples of indices.
            gather_nd scatter::gather_nd, no_scratch;
            /// The inverse of `gather_elements`, with a reduction.
            scatter_elements scatter::scatter_elements, no_scratch;
            /// The inverse of `gather_nd`, with a reduction.
            scatter_nd scatter::scatter_nd, no_scratch;
            /// Writes an update into a cache from a position of each batch on.
            tensor_scatter scatter::tensor_scatter, no_scratch;
            /// Reverses the first elements of each sequence.
            reverse_sequence select::reverse_sequence, no_scratch;
            /// Running sums or products along an axis.
            cumulate cumulate::cumulate, no_scratch;
            /// Maxima of windows and where they are.
            max_pool_indices pool::max_pool_indices, no_scratch;
            /// Puts elements back to where a pooling took them from.
            max_unpool pool::max_unpool, no_scratch;
            /// Maxima of a grid over each region.
            max_roi_pool pool::max_roi_pool, no_scratch;
            /// Adds blocks of columns up to an image.
            col2im pool::col2im, no_scratch;
            /// Samples at given positions.
            grid_sample sample::grid_sample, no_scratch;
            /// Averages or maxima of bilinear samples over each region.
            roi_align sample::roi_align, no_scratch;
            /// Convolution whose taps are displaced.
            deform_conv conv::deform_conv, no_scratch;
            /// Boxes in order of score, without those that overlap a better one.
            non_max_suppression detect::non_max_suppression, detect::scratch;
            /// Resampling along axes by any kernel.
            resize resize::resize, resize::scratch;
            /// Determinants.
            det linear::det, linear::scratch;
            /// Uniform numbers.
            random_uniform random::uniform, no_scratch;
            /// Normally distributed numbers.
            random_normal random::normal, no_scratch;
            /// 1 with the probability that the input says.
            bernoulli random::bernoulli, no_scratch;
            /// Classes with the unnormalised log-probabilities that the input says.
            multinomial random::multinomial, no_scratch;
        }
    };
}

macro_rules! table {
    ($($(#[$doc:meta])* $name:ident $module:ident::$run:ident, $($scratch:ident)::+;)*) => {
        /// Every routine. Not in the module: a table of functions would keep them all.
        #[cfg(not(target_arch = "wasm32"))]
        pub static ROUTINES: &[Routine] = &[$(Routine { name: stringify!($name), run: $module::$run, scratch: $($scratch)::+ }),*];

        /// The routines under their names in the table.
        pub mod run {
            $($(#[$doc])* pub fn $name(call: &mut crate::Call) -> crate::Done { crate::$module::$run(call) })*
        }
    };
}
for_each_routine!(table);

/// The routine with this name.
#[cfg(not(target_arch = "wasm32"))]
pub fn find(name: &str) -> Option<&'static Routine> {
    ROUTINES.iter().find(|r| r.name == name)
}
