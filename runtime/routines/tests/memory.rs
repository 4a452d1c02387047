//! Routines on a memory, by addresses, as the module calls them: right results, nothing written but outputs and scratch, and
//! errors where addresses are wrong. Small enough for Miri (`make miri`), which sees every access.

use routines::frame::{ADDRESSES, Shape, encode, run_in};
use routines::{DType, Done, Failure, Shapes, Status, find};

const I64: DType = DType::signed(8);

/// A tensor: type, sizes, bytes.
type Given<'a> = (DType, &'a [usize], Vec<u8>);

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn ints(values: &[i64]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// What lies where nothing may be written.
const GUARD: u8 = 0xa5;

/// Runs a routine on a memory in which `shift` bytes precede every tensor: the bytes of the outputs.
fn run(name: &str, inputs: &[Given], outputs: &[(DType, &[usize])], numbers: &[i64], shift: usize) -> Result<Vec<Vec<u8>>, Failure> {
    let routine = find(name).expect("a routine");
    let input_shapes: Vec<&[usize]> = inputs.iter().map(|(_, shape, _)| *shape).collect();
    let output_shapes: Vec<&[usize]> = outputs.iter().map(|(_, shape)| *shape).collect();
    let words = (routine.scratch)(&Shapes { inputs: &input_shapes, outputs: &output_shapes, ints: numbers });
    let ins: Vec<Shape> = inputs.iter().map(|(dtype, dims, _)| Shape { dtype: *dtype, dims }).collect();
    let outs: Vec<Shape> = outputs.iter().map(|(dtype, dims)| Shape { dtype: *dtype, dims }).collect();
    let mut contents = vec![];
    encode(&ins, &outs, numbers, &[], words, &mut |bytes| contents.extend_from_slice(bytes));
    let mut addresses = [0u32; ADDRESSES];
    let mut place = |contents: &mut Vec<u8>, slot: usize, bytes: &[u8], shift: usize| {
        contents.resize(contents.len().next_multiple_of(8) + 8 + shift, GUARD);
        addresses[slot] = contents.len() as u32;
        contents.extend_from_slice(bytes);
    };
    inputs.iter().enumerate().for_each(|(i, (.., bytes))| place(&mut contents, i, bytes, shift));
    for (i, (dtype, dims)) in outputs.iter().enumerate() {
        place(&mut contents, inputs.len() + i, &vec![0; dtype.bytes() * dims.iter().product::<usize>()], shift);
    }
    place(&mut contents, inputs.len() + outputs.len(), &vec![0; 8 * words], 0);
    contents.resize(contents.len().next_multiple_of(8) + 8, GUARD);
    // As aligned as a module's memory.
    let mut room = vec![GUARD; contents.len() + 8];
    let start = room.as_ptr().align_offset(8);
    let memory = &mut room[start..start + contents.len()];
    memory.copy_from_slice(&contents);
    let done: Done = run_in(routine.run, memory, 0, &addresses);
    let after = memory.to_vec();
    let range = |i: usize, dtype: DType, dims: &[usize]| {
        let at = addresses[inputs.len() + i] as usize;
        at..at + dtype.bytes() * dims.iter().product::<usize>()
    };
    let results: Vec<_> = outputs.iter().enumerate().map(|(i, (dtype, dims))| range(i, *dtype, dims)).collect();
    let scratch = addresses[inputs.len() + outputs.len()] as usize;
    let free = |at: usize| results.iter().any(|r| r.contains(&at)) || (scratch..scratch + 8 * words).contains(&at);
    assert!((0..after.len()).all(|at| free(at) || after[at] == contents[at]), "{name} writes beside its outputs");
    done.map(|()| results.into_iter().map(|range| after[range].to_vec()).collect())
}

/// At addresses of every alignment: tensors need none.
#[test]
fn results_are_right_and_nothing_else_is_written() {
    for shift in [0, 1, 4, 7] {
        let matrix = floats(&[2.0, 1.0, 7.0, 3.0, 0.0, 1.0, 1.0, 0.0]);
        let found = run("det", &[(DType::F32, &[2, 2, 2], matrix)], &[(DType::F32, &[2])], &[], shift);
        assert_eq!(found.unwrap(), [floats(&[-1.0, -1.0])]);
        let x = floats(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let indices = ints(&[1, -1, 0, 2]);
        let found =
            run("gather_elements", &[(DType::F32, &[2, 3], x.clone()), (I64, &[2, 2], indices)], &[(DType::F32, &[2, 2])], &[1], shift);
        assert_eq!(found.unwrap(), [floats(&[2.0, 3.0, 4.0, 6.0])]);
        let found = run("nonzero", &[(DType::F32, &[2, 2], floats(&[0.0, 3.0, 4.0, 0.0]))], &[(I64, &[2, 2])], &[], shift);
        assert_eq!(found.unwrap(), [ints(&[0, 1, 1, 0])]);
        let axis = (I64, &[][..], ints(&[1]));
        let found = run("cumulate", &[(DType::F32, &[2, 3], x), axis], &[(DType::F32, &[2, 3])], &[0, 0, 0], shift);
        assert_eq!(found.unwrap(), [floats(&[1.0, 3.0, 6.0, 4.0, 9.0, 15.0])]);
        let bools = (DType::BOOL, &[3][..], vec![1, 0, 1]);
        let found = run("compress", &[(I64, &[3], ints(&[7, 8, 9])), bools], &[(I64, &[2])], &[0], shift);
        assert_eq!(found.unwrap(), [ints(&[7, 9])]);
    }
}

#[test]
fn indices_outside_are_errors() {
    for bad in [3, -4, i64::MAX, i64::MIN] {
        let x = (DType::F32, &[3][..], floats(&[1.0, 2.0, 3.0]));
        let found = run("gather_elements", &[x, (I64, &[1], ints(&[bad]))], &[(DType::F32, &[1])], &[0], 0);
        assert_eq!(found.unwrap_err(), Failure { status: Status::IndexOutOfRange, detail: bad as u32 });
    }
    let x = (DType::F32, &[2][..], floats(&[1.0, 0.0]));
    let found = run("nonzero", &[x], &[(I64, &[1, 2])], &[], 0);
    assert_eq!(found.unwrap_err().status, Status::SizeOutOfBounds);
}

#[test]
fn addresses_outside_of_the_memory_and_shared_outputs_are_refused() {
    let mut descriptor = vec![];
    let shape = Shape { dtype: DType::F32, dims: &[2] };
    encode(&[shape], &[shape], &[], &[], 0, &mut |bytes| descriptor.extend_from_slice(bytes));
    let det = find("det").expect("a routine").run;
    let (input, size) = (descriptor.len().next_multiple_of(8), 128);
    let attempt = |descriptor_at: usize, from: usize, to: usize| {
        let mut room = vec![0u8; size + 8];
        let start = room.as_ptr().align_offset(8);
        let memory = &mut room[start..start + size];
        memory[..descriptor.len()].copy_from_slice(&descriptor);
        let mut addresses = [0u32; ADDRESSES];
        (addresses[0], addresses[1]) = (from as u32, to as u32);
        run_in(det, memory, descriptor_at as u32, &addresses).map_err(|failure| failure.detail)
    };
    assert_eq!(attempt(0, input, input + 8), Ok(()));
    for (descriptor_at, from, to) in [
        (0, input, size),
        (0, size - 4, input),
        (0, input, input + 4),
        (0, 1 << 31, input),
        (4, input, input + 8),
        (size, input, input + 8),
    ] {
        assert_eq!(attempt(descriptor_at, from, to), Err(u32::MAX), "{descriptor_at} {from} {to}");
    }
}
