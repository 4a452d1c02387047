//! How a call lies in the module's memory: a descriptor, and one address per tensor, then one of scratch memory.
//!
//! ```text
//! n_inputs, n_outputs, n_ints, n_floats, scratch_words, 0      u32 each
//! ints i64…, floats f64…
//! per tensor: dtype, rank, dims…                               u32 each
//! ```

use crate::{Call, DType, Done, Failure, MAX_INPUTS, MAX_OUTPUTS, Status, Tensor, TensorMut};
use core::{ptr, slice};

/// Words before the integers.
const HEAD: usize = 6;
/// The same in bytes.
pub const HEAD_BYTES: usize = 4 * HEAD;

/// A tensor of a descriptor.
#[derive(Debug, Clone, Copy)]
pub struct Shape<'a> {
    pub dtype: DType,
    pub dims: &'a [usize],
}

/// Addresses that a call takes: of every tensor and of scratch memory; unused ones are 0.
pub const ADDRESSES: usize = MAX_INPUTS + MAX_OUTPUTS + 1;

/// Writes a descriptor, byte by byte.
pub fn encode(inputs: &[Shape], outputs: &[Shape], ints: &[i64], floats: &[f64], scratch_words: usize, sink: &mut dyn FnMut(&[u8])) {
    for n in [inputs.len(), outputs.len(), ints.len(), floats.len(), scratch_words, 0] {
        sink(&(n as u32).to_le_bytes());
    }
    ints.iter().for_each(|i| sink(&i.to_le_bytes()));
    floats.iter().for_each(|x| sink(&x.to_le_bytes()));
    for shape in inputs.iter().chain(outputs) {
        sink(&u32::from(shape.dtype.0).to_le_bytes());
        sink(&(shape.dims.len() as u32).to_le_bytes());
        shape.dims.iter().for_each(|d| sink(&(*d as u32).to_le_bytes()));
    }
}

/// The same memory as twice as many halves.
pub fn as_u32(words: &mut [u64]) -> &mut [u32] {
    // SAFETY: any bits are a `u32`, the alignment is smaller, the length in bytes is the same.
    unsafe { slice::from_raw_parts_mut(words.as_mut_ptr().cast(), 2 * words.len()) }
}

/// Reads the words of a record or descriptor.
#[derive(Clone, Copy)]
struct Reader {
    memory: usize,
    at: usize,
}

impl Reader {
    /// # Safety
    /// A readable word lies there.
    unsafe fn word(&mut self) -> usize {
        // SAFETY: as the caller says; `read_unaligned` asks for no alignment.
        let word = unsafe { ptr::with_exposed_provenance::<u32>(self.memory + self.at).read_unaligned() };
        self.at += 4;
        word as usize
    }
}

/// Runs a routine on tensors in a memory that begins at the address `memory`; all other addresses count from there.
///
/// # Safety
/// As for [`read`].
#[inline(always)]
pub unsafe fn run(routine: impl Fn(&mut Call) -> Done, memory: usize, descriptor: u32, addresses: &[u32; ADDRESSES]) -> Done {
    // SAFETY: as the caller says.
    routine(&mut unsafe { read(memory, descriptor, addresses) })
}

/// The call that a descriptor describes.
///
/// # Safety
/// The descriptor is as this module says and aligned to 8 bytes, the tensors and the scratch memory lie in the memory, outputs
/// and scratch overlap nothing else, and scratch is aligned to 8 bytes.
#[inline(never)]
pub unsafe fn read<'m>(memory: usize, descriptor: u32, addresses: &[u32; ADDRESSES]) -> Call<'m> {
    let mut d = Reader { memory, at: descriptor as usize };
    let address = |i: usize| memory + addresses.get(i).map_or(0, |a| *a as usize);
    // SAFETY: for the whole function, as the caller says.
    unsafe {
        let [n_inputs, n_outputs, n_ints, n_floats, scratch, _] = [d.word(), d.word(), d.word(), d.word(), d.word(), d.word()];
        let ints = slice::from_raw_parts(ptr::with_exposed_provenance::<i64>(memory + d.at), n_ints);
        let floats = slice::from_raw_parts(ptr::with_exposed_provenance::<f64>(memory + d.at + 8 * n_ints), n_floats);
        d.at += 8 * (n_ints + n_floats);
        // No tensor, from parts that the compiler does not know: a constant would be static data.
        let nothing = ptr::with_exposed_provenance_mut::<u8>(memory + d.at);
        let dtype = DType(n_inputs as u8);
        let none = || TensorMut { dtype, shape: slice::from_raw_parts(nothing.cast(), 0), bytes: slice::from_raw_parts_mut(nothing, 0) };
        let absent = Tensor { dtype, shape: slice::from_raw_parts(nothing.cast(), 0), bytes: slice::from_raw_parts(nothing, 0) };
        let mut call = Call { inputs: [absent; MAX_INPUTS], outputs: [none(), none(), none(), none()], ints, floats, scratch: &mut [] };
        for i in 0..n_inputs + n_outputs {
            let (kind, rank) = (d.word(), d.word());
            let dtype = DType(kind as u8);
            let shape = slice::from_raw_parts(ptr::with_exposed_provenance::<u32>(memory + d.at), rank);
            d.at += 4 * rank;
            let start = ptr::with_exposed_provenance_mut::<u8>(address(i));
            let bytes = crate::tensor::product(shape) * dtype.bytes();
            if i < n_inputs {
                if let Some(input) = call.inputs.get_mut(i) {
                    *input = Tensor { dtype, shape, bytes: slice::from_raw_parts(start, bytes) };
                }
            } else if let Some(output) = call.outputs.get_mut(i - n_inputs) {
                *output = TensorMut { dtype, shape, bytes: slice::from_raw_parts_mut(start, bytes) };
            }
        }
        if scratch > 0 {
            call.scratch = slice::from_raw_parts_mut(ptr::with_exposed_provenance_mut(address(n_inputs + n_outputs)), scratch);
        }
        call
    }
}

/// [`run`] on a memory of the host, with checks: for tests, which have no module.
///
/// # Errors
/// `InvalidInput` with the detail `u32::MAX` when an address lies outside of the memory or outputs overlap other tensors.
#[cfg(not(target_arch = "wasm32"))]
pub fn run_in(routine: fn(&mut Call) -> Done, memory: &mut [u8], descriptor: u32, addresses: &[u32; ADDRESSES]) -> Done {
    let bad = Failure { status: Status::InvalidInput, detail: u32::MAX };
    let word = |at: usize| memory.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes).map(|w| w as usize).ok_or(bad);
    let mut d = descriptor as usize;
    let (n_inputs, n_outputs, scratch) = (word(d)?, word(d + 4)?, word(d + 16)?);
    let numbers = word(d + 8)? + word(d + 12)?;
    let aligned = (memory.as_ptr() as usize).is_multiple_of(8) && d.is_multiple_of(8);
    d += 4 * HEAD + 8 * numbers;
    let n = n_inputs + n_outputs;
    if n_inputs > MAX_INPUTS || n_outputs > MAX_OUTPUTS || d > memory.len() || !aligned {
        return Err(bad);
    }
    let mut ranges = [(0, 0); ADDRESSES];
    for i in 0..n {
        let (kind, rank) = (word(d)?, word(d + 4)?);
        let mut bytes = DType(kind as u8).bytes();
        for j in 0..rank {
            bytes *= word(d + 8 + 4 * j)?;
        }
        d += 8 + 4 * rank;
        ranges[i] = (addresses[i] as usize, addresses[i] as usize + bytes);
    }
    if scratch > 0 {
        let start = addresses[n] as usize;
        ranges[n] = (start, start + 8 * scratch);
        if !start.is_multiple_of(8) {
            return Err(bad);
        }
    }
    for (i, (start, end)) in ranges.iter().enumerate() {
        let meets = |(s, e): &(usize, usize)| start < e && s < end;
        if *end > memory.len() || (i >= n_inputs && ranges[..i].iter().any(meets)) {
            return Err(bad);
        }
    }
    // SAFETY: the ranges were checked above.
    unsafe { run(routine, memory.as_mut_ptr().expose_provenance(), descriptor, addresses) }
}
