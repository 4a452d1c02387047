//! NumPy files to tensors and back: `.npy` (one array) and `.npz` (a ZIP archive of them). Elements keep their type; those
//! of types that NumPy lacks travel as unsigned integers of the same width, with the same bits. The format: `numpy.lib.format` in NumPy's documentation. No bytes make the reader panic.

mod reader;

use crate::Error;
use crate::engine::NamedTensor;
use crate::error::read_file;
use ir::{DType, Tensor};
use std::io::{Cursor, Read, Write};
use std::path::Path;

pub use reader::{NpyReader, archive, is_archive};

/// Marks a key of an `.npz` file as an input; files with goldens hold both.
pub const INPUT: &str = "input:";
pub const OUTPUT: &str = "output:";

/// Why bytes are not an array, or not one that a tensor can hold.
#[derive(Debug, thiserror::Error)]
pub enum NpyError {
    #[error("not a NumPy file")]
    NotNumpy,
    #[error("the header cannot be read: {0}")]
    Header(&'static str),
    #[error("elements of type {0} are not supported\nhint: convert the array, e.g. array.astype(numpy.float32)")]
    Type(String),
    #[error("the file is cut off: {expected} bytes of elements are announced, {found} are there")]
    Truncated { expected: usize, found: usize },
    #[error("the archive is damaged: {0}")]
    Zip(#[from] zip::result::ZipError),
    #[error("cannot be read: {0}")]
    Io(#[from] std::io::Error),
}

/// Element types as NumPy spells them, without the order of bytes.
const TYPES: &[(&str, DType)] = &[
    ("f2", DType::F16),
    ("f4", DType::F32),
    ("f8", DType::F64),
    ("i1", DType::I8),
    ("i2", DType::I16),
    ("i4", DType::I32),
    ("i8", DType::I64),
    ("u1", DType::U8),
    ("u2", DType::U16),
    ("u4", DType::U32),
    ("u8", DType::U64),
    ("b1", DType::Bool),
];

/// How NumPy stores elements of a type: as themselves, or their bits as unsigned integers.
fn stored(dtype: DType) -> (&'static str, DType) {
    let as_bits = if dtype.bytes() == 1 { DType::U8 } else { DType::U16 };
    let row = |wanted: DType| TYPES.iter().find(|(_, dtype)| *dtype == wanted).copied();
    row(dtype).or(row(as_bits)).expect("the table has both")
}

/// The type as which elements travel: `dtype` itself where NumPy has it.
pub fn stored_as(dtype: DType) -> DType {
    stored(dtype).1
}

/// Gives elements that travelled as bits the type that they have in the model; other tensors stay as they are.
pub fn restored(tensor: Tensor, dtype: DType) -> Tensor {
    match tensor.dtype != dtype && tensor.dtype == stored_as(dtype) {
        true => Tensor::from_bytes(dtype, &tensor.shape, tensor.bytes()).expect("the widths are the same"),
        false => tensor,
    }
}

/// What a file of arrays holds, by its first bytes.
pub enum Arrays {
    One(Tensor),
    /// Keys in the archive's order.
    Many(Vec<NamedTensor>),
}

/// Reads an `.npy` or `.npz` file; the contents decide which.
pub fn read(path: &Path) -> Result<Arrays, Error> {
    let bytes = read_file(path)?;
    let arrays = match bytes.get(..2) {
        Some(b"PK") => parse_npz(&bytes).map(Arrays::Many),
        _ => parse_npy(&bytes).map(Arrays::One),
    };
    arrays.map_err(|error| in_file(path, &error))
}

/// Reads an `.npy` file.
pub fn read_npy(path: &Path) -> Result<Tensor, Error> {
    parse_npy(&read_file(path)?).map_err(|error| in_file(path, &error))
}

/// Reads an `.npz` file.
pub fn read_npz(path: &Path) -> Result<Vec<NamedTensor>, Error> {
    parse_npz(&read_file(path)?).map_err(|error| in_file(path, &error))
}

pub(crate) fn in_file(path: &Path, error: &NpyError) -> Error {
    let hint = match error {
        NpyError::NotNumpy => "\nhint: inputs are .npy or .npz files: numpy.save(\"x.npy\", array)",
        _ => "",
    };
    Error::Usage(format!("{}: {error}{hint}", path.display()))
}

const MAGIC: &[u8] = b"\x93NUMPY";

/// An array from the bytes of an `.npy` file.
pub fn parse_npy(bytes: &[u8]) -> Result<Tensor, NpyError> {
    let rest = bytes.strip_prefix(MAGIC).ok_or(NpyError::NotNumpy)?;
    let (header, elements) = split_header(rest).ok_or(NpyError::Header("it is cut off"))?;
    let Header { dtype, big_endian, fortran_order, shape } = parse_header(header)?;
    let expected = shape.iter().try_fold(dtype.bytes(), |n, d| n.checked_mul(*d)).unwrap_or(usize::MAX);
    let mut elements = elements.get(..expected).ok_or(NpyError::Truncated { expected, found: elements.len() })?.to_vec();
    if big_endian {
        elements.chunks_mut(dtype.bytes()).for_each(<[u8]>::reverse);
    }
    let stored: Vec<usize> = if fortran_order { shape.iter().rev().copied().collect() } else { shape };
    let tensor = Tensor::from_bytes(dtype, &stored, &elements).ok_or(NpyError::Header("the shape is too large"))?;
    Ok(if fortran_order { transposed(&tensor) } else { tensor })
}

/// Header text and elements of what follows the magic bytes: version, length of the header, header.
fn split_header(rest: &[u8]) -> Option<(&str, &[u8])> {
    let (version, rest) = rest.split_first_chunk::<2>()?;
    let (length, rest) = match version[0] {
        1 => rest.split_first_chunk().map(|(n, rest)| (usize::from(u16::from_le_bytes(*n)), rest))?,
        _ => rest.split_first_chunk().map(|(n, rest)| (u32::from_le_bytes(*n) as usize, rest))?,
    };
    let (header, elements) = rest.split_at_checked(length)?;
    Some((std::str::from_utf8(header).ok()?, elements))
}

struct Header {
    dtype: DType,
    big_endian: bool,
    fortran_order: bool,
    shape: Vec<usize>,
}

/// The header is a Python dictionary with exactly three keys.
fn parse_header(text: &str) -> Result<Header, NpyError> {
    let value = |key: &str, missing| {
        let (_, rest) = text.split_once(&format!("'{key}':")).ok_or(NpyError::Header(missing))?;
        Ok::<&str, NpyError>(rest.trim_start())
    };
    let descr = value("descr", "it names no element type")?;
    // Structured types are lists of fields.
    let descr = match descr.strip_prefix('\'') {
        Some(rest) => rest.split('\'').next().unwrap_or_default(),
        None => return Err(NpyError::Type(descr.split_inclusive(']').next().unwrap_or_default().into())),
    };
    let fortran_order = match value("fortran_order", "it does not say in which order the elements are")? {
        text if text.starts_with("True") => true,
        text if text.starts_with("False") => false,
        _ => return Err(NpyError::Header("the order of elements is neither True nor False")),
    };
    let shape = value("shape", "it names no shape")?.strip_prefix('(').and_then(|rest| rest.split_once(')'));
    let (shape, _) = shape.ok_or(NpyError::Header("the shape is no tuple"))?;
    let sizes = shape.split(',').map(str::trim).filter(|size| !size.is_empty());
    let shape = sizes.map(|size| size.parse().map_err(|_| NpyError::Header("the shape holds something other than sizes")));
    let unsupported = || NpyError::Type(descr.into());
    let (order, name) = descr.split_at_checked(1).ok_or_else(unsupported)?;
    let &(_, dtype) = TYPES.iter().find(|(known, _)| *known == name).ok_or_else(unsupported)?;
    Ok(Header { dtype, big_endian: order == ">", fortran_order, shape: shape.collect::<Result<_, _>>()? })
}

/// The dimensions in reverse order.
fn transposed(tensor: &Tensor) -> Tensor {
    let strides = ir::tensor::strides(&tensor.shape);
    let shape: Vec<usize> = tensor.shape.iter().rev().copied().collect();
    tensor.gather_elements(&shape, |index| Some(index.iter().zip(strides.iter().rev()).map(|(i, s)| i * s).sum()))
}

/// The arrays in the bytes of an `.npz` file.
pub fn parse_npz(bytes: &[u8]) -> Result<Vec<NamedTensor>, NpyError> {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes))?;
    let mut arrays = vec![];
    for i in 0..archive.len() {
        let mut file = archive.by_index(i)?;
        let name = file.name()?.into_owned();
        let name = name.strip_suffix(".npy").map_or(name.clone(), Into::into);
        let mut bytes = vec![];
        file.read_to_end(&mut bytes)?;
        arrays.push(NamedTensor { name, tensor: parse_npy(&bytes)? });
    }
    Ok(arrays)
}

/// The bytes of an `.npy` file.
pub fn npy_bytes(tensor: &Tensor) -> Result<Vec<u8>, NpyError> {
    let (name, dtype) = stored(tensor.dtype);
    let order = if dtype.bytes() == 1 { '|' } else { '<' };
    let shape: String = tensor.shape.iter().map(|d| format!("{d}, ")).collect();
    let mut header = format!("{{'descr': '{order}{name}', 'fortran_order': False, 'shape': ({}), }}", shape.trim_end());
    // Elements begin at a multiple of 64 bytes; the header ends with a new line.
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = MAGIC.to_vec();
    bytes.extend([1, 0]);
    bytes.extend(u16::try_from(header.len()).expect("ranks are small").to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(tensor.bytes());
    Ok(bytes)
}

/// The bytes of an `.npz` file, the same for the same arrays.
pub fn npz_bytes(arrays: &[NamedTensor]) -> Result<Vec<u8>, NpyError> {
    let mut archive = zip::ZipWriter::new(Cursor::new(vec![]));
    let options = zip::write::SimpleFileOptions::default().last_modified_time(zip::DateTime::default());
    for NamedTensor { name, tensor } in arrays {
        archive.start_file(format!("{name}.npy"), options)?;
        archive.write_all(&npy_bytes(tensor)?)?;
    }
    Ok(archive.finish()?.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_survive_a_round_trip() {
        for (_, dtype) in TYPES {
            for shape in [&[][..], &[3], &[2, 0, 4], &[2, 3, 4]] {
                let name = format!("{dtype}{shape:?}");
                let tensor = Tensor::random(*dtype, shape, 7);
                assert_eq!(parse_npy(&npy_bytes(&tensor).unwrap()).unwrap(), tensor, "{name}");
                let [back] = &parse_npz(&npz_bytes(&[NamedTensor { name: name.clone(), tensor: tensor.clone() }]).unwrap()).unwrap()[..]
                else {
                    panic!("one array")
                };
                assert_eq!((&back.name, &back.tensor), (&name, &tensor));
            }
        }
    }

    #[test]
    fn types_that_numpy_lacks_travel_as_bits() {
        for dtype in DType::ALL {
            let tensor = Tensor::random(*dtype, &[2, 3], 5);
            let back = parse_npy(&npy_bytes(&tensor).unwrap()).unwrap();
            assert_eq!(back.dtype, stored_as(*dtype));
            assert_eq!((back.dtype.bytes(), back.bytes()), (dtype.bytes(), tensor.bytes()));
            assert_eq!(restored(back, *dtype), tensor);
        }
        let signed = Tensor::zeros(DType::I8, &[2]);
        assert_eq!(restored(signed.clone(), DType::F8E5M2), signed, "only unsigned integers are bits");
    }

    fn npy(descr: &str, fortran: &str, shape: &str, elements: &[u8]) -> Vec<u8> {
        let header = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n");
        [b"\x93NUMPY\x01\x00".as_slice(), &(header.len() as u16).to_le_bytes(), header.as_bytes(), elements].concat()
    }

    #[test]
    fn big_endian_and_column_major_arrays_are_turned() {
        let tensor = parse_npy(&npy(">i2", "True", "(2, 3)", &[0, 1, 0, 4, 0, 2, 0, 5, 0, 3, 0, 6])).unwrap();
        assert_eq!(tensor, Tensor::new::<i16>(&[2, 3], &[1, 2, 3, 4, 5, 6]));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let text = |bytes: &[u8]| parse_npy(bytes).unwrap_err().to_string();
        assert_eq!(text(b"\x89PNG"), "not a NumPy file");
        assert_eq!(text(&npy("<f4", "False", "(3,)", &[0; 8])), "the file is cut off: 12 bytes of elements are announced, 8 are there");
        assert!(text(&npy("<c8", "False", "(1,)", &[0; 8])).starts_with("elements of type <c8 are not supported"));
        assert!(text(&npy("<f4", "False", "(9223372036854775807, 9223372036854775807)", &[])).contains("cut off"));
        assert_eq!(text(&npy("<f4", "False", "(3,)", &[])[..30]), "the header cannot be read: it is cut off");
        assert!(text(&npy("<f4", "False", "(9223372036854775807, 4, 0)", &[])).contains("cut off"), "no overflow");
        assert!(text(&npy("<f4", "Maybe", "(3,)", &[])).contains("neither True nor False"));
        assert!(text(&npy("<f4", "True", "(3, x)", &[])).contains("other than sizes"));
        assert_eq!(text(&npy("", "False", "(3,)", &[])).lines().next(), Some("elements of type  are not supported"));
        assert!(parse_npz(b"PK\x03\x04").is_err());
    }
}
