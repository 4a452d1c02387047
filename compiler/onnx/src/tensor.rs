//! Tensors of the file to constants: raw bytes, typed fields, external files, sparse form. Sizes are checked before memory is
//! taken.

use crate::error::{Fault, ImportErrors, Problem, invalid, unsupported};
use crate::packed::{from_stored, stored_bytes};
use crate::proto::tensor_proto::{DataLocation, DataType};
use crate::proto::{SparseTensorProto, TensorProto};
use half::{bf16, f16};
use ir::tensor::strides;
use ir::{B8, DType, Element, Tensor};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

const DTYPES: &[(DataType, DType)] = &[
    (DataType::Float, DType::F32),
    (DataType::Double, DType::F64),
    (DataType::Float16, DType::F16),
    (DataType::Bfloat16, DType::BF16),
    (DataType::Int8, DType::I8),
    (DataType::Int16, DType::I16),
    (DataType::Int32, DType::I32),
    (DataType::Int64, DType::I64),
    (DataType::Uint8, DType::U8),
    (DataType::Uint16, DType::U16),
    (DataType::Uint32, DType::U32),
    (DataType::Uint64, DType::U64),
    (DataType::Bool, DType::Bool),
    (DataType::Int4, DType::I4),
    (DataType::Uint4, DType::U4),
    (DataType::Int2, DType::I2),
    (DataType::Uint2, DType::U2),
    (DataType::Float8e4m3fn, DType::F8E4M3FN),
    (DataType::Float8e4m3fnuz, DType::F8E4M3FNUZ),
    (DataType::Float8e5m2, DType::F8E5M2),
    (DataType::Float8e5m2fnuz, DType::F8E5M2FNUZ),
    (DataType::Float4e2m1, DType::F4E2M1),
    (DataType::Float8e8m0, DType::F8E8M0),
];

/// The element type with this number in ONNX.
pub(crate) fn dtype(number: i32) -> Result<DType, Fault> {
    let known = DataType::try_from(number).ok();
    match DTYPES.iter().find(|(data_type, _)| Some(*data_type) == known) {
        Some((_, dtype)) => Ok(*dtype),
        None => {
            let name = known.map_or(format!("number {number}"), |k| k.as_str_name().to_lowercase());
            let known: Vec<&str> = DTYPES.iter().map(|(_, d)| d.name()).collect();
            Err(Fault::unsupported(format!("elements of type {name} are not supported")).hint(format!("known are: {}", known.join(", "))))
        }
    }
}

/// Sizes as the file gives them, checked: none negative, the product in bytes fits into memory.
fn shape(dims: &[i64], dtype: DType) -> Result<Vec<usize>, Fault> {
    let sizes: Option<Vec<usize>> = dims.iter().map(|d| usize::try_from(*d).ok()).collect();
    let bytes = |s: &[usize]| s.iter().try_fold(dtype.bytes(), |n, d| n.checked_mul(*d.max(&1))).filter(|n| *n <= isize::MAX as usize);
    match sizes {
        Some(sizes) if bytes(&sizes).is_some() => Ok(sizes),
        _ => invalid!("a tensor cannot have the shape {dims:?}"),
    }
}

/// A tensor with its elements. External data lies below `base`.
pub(crate) fn to_tensor(proto: &TensorProto, base: Option<&Path>) -> Result<Tensor, Fault> {
    let dtype = dtype(proto.data_type())?;
    let shape = shape(&proto.dims, dtype)?;
    let expected = shape.iter().product::<usize>();
    if proto.segment.is_some() {
        unsupported!("tensors stored in segments are not supported");
    }
    let mut tensor = if proto.data_location() == DataLocation::External {
        external(proto, base, dtype, &shape)?
    } else if let Some(raw) = &proto.raw_data {
        match from_stored(dtype, &shape, raw) {
            Some(tensor) => tensor,
            None => invalid!("{dtype}{shape:?} needs {} bytes of data, found {}", stored_bytes(dtype, expected), raw.len()),
        }
    } else {
        typed(proto, dtype, &shape)?
    };
    if dtype == DType::Bool {
        tensor.bytes_mut().iter_mut().for_each(|b| *b = u8::from(*b != 0));
    }
    Ok(tensor)
}

/// Elements from the field of their type.
fn typed(proto: &TensorProto, dtype: DType, shape: &[usize]) -> Result<Tensor, Fault> {
    fn fill<T: Element, S: Copy>(shape: &[usize], from: &[S], convert: impl Fn(S) -> T) -> Result<Tensor, Fault> {
        let expected: usize = shape.iter().product();
        if from.len() != expected {
            invalid!("{}{shape:?} needs {expected} elements, found {}", T::DTYPE, from.len());
        }
        Ok(Tensor::new(shape, &from.iter().map(|x| convert(*x)).collect::<Vec<T>>()))
    }
    let (small, large, unsigned) = (&proto.int32_data, &proto.int64_data, &proto.uint64_data);
    match dtype {
        DType::F32 => fill(shape, &proto.float_data, |x| x),
        DType::F64 => fill(shape, &proto.double_data, |x| x),
        DType::F16 => fill(shape, small, |x| f16::from_bits(x as u16)),
        DType::BF16 => fill(shape, small, |x| bf16::from_bits(x as u16)),
        DType::I8 => fill(shape, small, |x| x as i8),
        DType::I16 => fill(shape, small, |x| x as i16),
        DType::I32 => fill(shape, small, |x| x),
        DType::I64 => fill(shape, large, |x| x),
        DType::U8 => fill(shape, small, |x| x as u8),
        DType::U16 => fill(shape, small, |x| x as u16),
        DType::U32 => fill(shape, unsigned, |x| x as u32),
        DType::U64 => fill(shape, unsigned, |x| x),
        DType::Bool => fill(shape, small, |x| B8(u8::from(x != 0))),
        // One byte of the stored form in each number.
        _ => {
            let stored: Vec<u8> = small.iter().map(|x| *x as u8).collect();
            let expected = stored_bytes(dtype, shape.iter().product());
            from_stored(dtype, shape, &stored)
                .ok_or_else(|| Fault::invalid(format!("{dtype}{shape:?} needs {expected} bytes of data, found {}", stored.len())))
        }
    }
}

/// Where external data lies: a path below `base`, links followed.
fn external_path(location: &str, base: Option<&Path>) -> Result<PathBuf, Fault> {
    let Some(base) = base else {
        return Err(Fault::invalid(format!("the data lies in another file, `{location}`, but the model's directory is not known"))
            .hint("pass the model as a path, or set the directory of its external data"));
    };
    let relative = Path::new(location);
    let inside = !location.is_empty() && relative.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
    if !inside || location.contains('\0') {
        return Err(Fault::invalid(format!("external data must lie below the model's directory, found `{location}`"))
            .hint("save the model again with its data beside it"));
    }
    // An empty path is the current directory.
    let base = if base.as_os_str().is_empty() { Path::new(".") } else { base };
    let path = base.join(relative);
    let missing = |e: std::io::Error| {
        Fault::invalid(format!("cannot read external data {}: {e}", path.display())).hint("keep the model and its data files together")
    };
    let (real, root) = (path.canonicalize().map_err(missing)?, base.canonicalize().map_err(missing)?);
    if !real.starts_with(root) {
        return Err(Fault::invalid(format!("external data `{location}` is a link to a file outside the model's directory"))
            .hint("replace the link by the file"));
    }
    Ok(real)
}

fn external(proto: &TensorProto, base: Option<&Path>, dtype: DType, shape: &[usize]) -> Result<Tensor, Fault> {
    let entry = |key: &str| proto.external_data.iter().find(|e| e.key() == key).map(|e| e.value());
    let number = |key: &str| match entry(key) {
        None => Ok(None),
        Some(text) => match text.parse::<u64>() {
            Ok(n) => Ok(Some(n)),
            Err(_) => Err(Fault::invalid(format!("external data: `{key}` is not a number: `{text}`"))),
        },
    };
    let location = entry("location").unwrap_or_default();
    let path = external_path(location, base)?;
    let needed = stored_bytes(dtype, shape.iter().product()) as u64;
    let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?.unwrap_or(needed));
    if length != needed {
        invalid!("{dtype}{shape:?} needs {needed} bytes of external data, found a length of {length}");
    }
    let failed = |e: std::io::Error| Fault::invalid(format!("cannot read external data `{location}`: {e}"));
    // Opening a pipe or a device may wait for ever.
    if !std::fs::metadata(&path).map_err(failed)?.is_file() {
        invalid!("external data `{location}` is not a file");
    }
    let mut file = std::fs::File::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    if offset.checked_add(length).is_none_or(|end| end > size) {
        return Err(Fault::invalid(format!("external data: {length} bytes from {offset} on do not lie in `{location}` of {size} bytes"))
            .hint("the data file may be truncated, or belong to another model"));
    }
    file.seek(SeekFrom::Start(offset)).map_err(failed)?;
    if dtype.bits() < 8 {
        let mut stored = vec![0; length as usize];
        file.read_exact(&mut stored).map_err(failed)?;
        return Ok(from_stored(dtype, shape, &stored).expect("the length was compared"));
    }
    let mut tensor = Tensor::zeros(dtype, shape);
    file.read_exact(tensor.bytes_mut()).map_err(failed)?;
    Ok(tensor)
}

/// A sparse tensor, made dense.
pub(crate) fn to_dense(sparse: &SparseTensorProto, base: Option<&Path>) -> Result<Tensor, Fault> {
    /// Zeros are not in the file, so that nothing else limits the size: many times what is stored, or what is small anyway.
    const GROWTH: usize = 1 << 10;
    const SMALL: usize = 1 << 24;
    let (Some(values), Some(indices)) = (&sparse.values, &sparse.indices) else { invalid!("a sparse tensor needs values and indices") };
    let (values, indices) = (to_tensor(values, base)?, to_tensor(indices, base)?);
    let shape = shape(&sparse.dims, values.dtype)?;
    let elements: usize = shape.iter().product();
    if elements > SMALL.max(values.len().saturating_mul(GROWTH)) {
        unsupported!("a sparse tensor of shape {shape:?} is too large to be made dense");
    }
    if indices.dtype != DType::I64 || values.rank() != 1 {
        invalid!("a sparse tensor needs one-dimensional values and i64 indices");
    }
    let (n, rank) = (values.len(), shape.len());
    let to = strides(&shape);
    let positions: Option<Vec<usize>> = match indices.shape[..] {
        [count] if count == n => indices.as_slice::<i64>().iter().map(|i| usize::try_from(*i).ok().filter(|i| *i < elements)).collect(),
        [count, width] if count == n && width == rank && rank > 0 => {
            let at = |index: &[i64]| {
                let mut position = 0;
                for d in 0..rank {
                    position += usize::try_from(index[d]).ok().filter(|i| *i < shape[d])? * to[d];
                }
                Some(position)
            };
            indices.as_slice::<i64>().chunks(rank).map(at).collect()
        }
        _ => invalid!("{n} sparse values do not fit indices of shape {:?}", indices.shape),
    };
    let Some(positions) = positions else { invalid!("a sparse index lies outside of {shape:?}") };
    let mut dense = Tensor::zeros(values.dtype, &shape);
    let size = values.dtype.bytes();
    for (i, position) in positions.into_iter().enumerate() {
        dense.bytes_mut()[position * size..][..size].copy_from_slice(&values.bytes()[i * size..][..size]);
    }
    Ok(dense)
}

/// The elements of a tensor that is not part of a model, such as test data. It must not lie in another file.
pub fn tensor_from_proto(proto: &TensorProto) -> Result<Tensor, ImportErrors> {
    to_tensor(proto, None).map_err(|fault| {
        let sentence = format!("tensor `{}`: {}", proto.name(), fault.sentence);
        Problem::model(fault.kind, sentence, fault.hint.unwrap_or_default()).into()
    })
}
