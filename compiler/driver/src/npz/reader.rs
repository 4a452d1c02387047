//! Reads the elements of an array piece by piece, so that a large file needs little memory.

use super::{Header, MAGIC, NpyError, parse_header, parse_npy};
use ir::{DType, Tensor};
use std::io::{Cursor, Read, Seek, SeekFrom};

/// An `.npz` file whose arrays are read on demand.
pub fn archive<R: Read + Seek>(source: R) -> Result<zip::ZipArchive<R>, NpyError> {
    Ok(zip::ZipArchive::new(source)?)
}

/// Whether a file begins like an `.npz` file; it is read from its beginning afterwards.
pub fn is_archive(source: &mut (impl Read + Seek)) -> std::io::Result<bool> {
    let mut first = vec![];
    source.by_ref().take(2).read_to_end(&mut first)?;
    source.seek(SeekFrom::Start(0))?;
    Ok(first == b"PK")
}

/// An array of which the header was read.
pub struct NpyReader<'a> {
    pub shape: Vec<usize>,
    pub dtype: DType,
    big_endian: bool,
    source: Box<dyn Read + 'a>,
}

impl<'a> NpyReader<'a> {
    pub fn new(mut source: Box<dyn Read + 'a>) -> Result<NpyReader<'a>, NpyError> {
        let mut head = [0; 10];
        source.read_exact(&mut head).map_err(|_| NpyError::NotNumpy)?;
        if head[..6] != *MAGIC {
            return Err(NpyError::NotNumpy);
        }
        let mut bytes = head.to_vec();
        let mut length = usize::from(u16::from_le_bytes([head[8], head[9]]));
        if head[6] != 1 {
            let mut more = [0; 2];
            source.read_exact(&mut more)?;
            bytes.extend(more);
            length = u32::from_le_bytes([head[8], head[9], more[0], more[1]]) as usize;
        }
        let mut header = vec![];
        source.by_ref().take(length as u64).read_to_end(&mut header)?;
        let text = std::str::from_utf8(&header).map_err(|_| NpyError::Header("it is no text"))?;
        let Header { dtype, big_endian, fortran_order, shape } = parse_header(text)?;
        if fortran_order && shape.len() > 1 {
            // Pieces of such an array lie scattered over the file.
            bytes.extend(&header);
            source.read_to_end(&mut bytes)?;
            let whole = parse_npy(&bytes)?;
            return Ok(NpyReader { shape, dtype, big_endian: false, source: Box::new(Cursor::new(whole.bytes().to_vec())) });
        }
        Ok(NpyReader { shape, dtype, big_endian, source })
    }

    /// The next elements, as a tensor of this shape.
    pub fn next(&mut self, shape: &[usize]) -> Result<Tensor, NpyError> {
        let expected = shape.iter().try_fold(self.dtype.bytes(), |n, d| n.checked_mul(*d)).unwrap_or(usize::MAX);
        let mut bytes = vec![];
        let found = self.source.by_ref().take(expected as u64).read_to_end(&mut bytes)?;
        if self.big_endian {
            bytes.chunks_mut(self.dtype.bytes()).for_each(<[u8]>::reverse);
        }
        Tensor::from_bytes(self.dtype, shape, &bytes).ok_or(NpyError::Truncated { expected, found })
    }
}

#[cfg(test)]
mod tests {
    use super::super::npy_bytes;
    use super::*;

    #[test]
    fn pieces_are_the_whole() {
        let whole = Tensor::random(DType::F32, &[4, 3, 2], 1);
        let bytes = npy_bytes(&whole).unwrap();
        let mut reader = NpyReader::new(Box::new(Cursor::new(bytes.clone()))).unwrap();
        assert_eq!(reader.shape, [4, 3, 2]);
        for row in 0..4 {
            let piece = reader.next(&[3, 2]).unwrap();
            assert_eq!(piece.as_slice::<f32>(), &whole.as_slice::<f32>()[6 * row..][..6]);
        }
        assert!(matches!(reader.next(&[1]), Err(NpyError::Truncated { expected: 4, found: 0 })));
        assert!(NpyReader::new(Box::new(Cursor::new(b"\x89PNG 0123456789".to_vec()))).is_err());
        let mut cut = NpyReader::new(Box::new(Cursor::new(bytes[..100].to_vec()))).unwrap();
        assert!(cut.next(&[4, 3, 2]).is_err());
    }
}
