//! The weights as bytes: what of them is stored, their hashes, and chunks for hosts with a limit on the size of files.

use crate::layout::Layout;
use abi::manifest::{Chunk, ExternalWeights};
use lower::plan::Plan;
use sha2::{Digest, Sha256};

const MEBIBYTE: usize = 1 << 20;

/// Weights are stored up to their last byte that is not zero: memory starts as zeros.
pub fn stored_bytes(plan: &Plan, layout: &Layout) -> usize {
    let ends = plan.weights.iter().zip(&layout.weight_offsets).rev().filter_map(|(weight, offset)| {
        let last = weight.bytes.iter().rposition(|byte| *byte != 0)?;
        Some(*offset as usize + last + 1)
    });
    ends.into_iter().next().unwrap_or(0)
}

/// Appends the first `stored` bytes of the weights, as they lie in memory.
pub fn append(out: &mut Vec<u8>, plan: &Plan, layout: &Layout, stored: usize) {
    pieces(plan, layout, stored, |piece| out.extend_from_slice(piece));
}

/// Hands out the first `stored` bytes of the weights, as they lie in memory, piece by piece.
fn pieces(plan: &Plan, layout: &Layout, stored: usize, mut take: impl FnMut(&[u8])) {
    let mut position = 0;
    for (weight, offset) in plan.weights.iter().zip(&layout.weight_offsets) {
        let offset = *offset as usize;
        if offset >= stored {
            break;
        }
        for at in (position..offset).step_by(ZEROS.len()) {
            take(&ZEROS[..ZEROS.len().min(offset - at)]);
        }
        let bytes = &weight.bytes[..weight.bytes.len().min(stored - offset)];
        take(bytes);
        position = offset + bytes.len();
    }
}

/// What lies between weights.
const ZEROS: [u8; 64] = [0; 64];

/// SHA-256 of each MiB of the weights as they lie in memory, padding and the zeros that are not stored included.
pub fn hashes(plan: &Plan, layout: &Layout) -> Vec<String> {
    let mut hashes = MebibyteHashes { current: Sha256::new(), filled: 0, done: Vec::new() };
    let mut position = 0;
    for (weight, offset) in plan.weights.iter().zip(&layout.weight_offsets) {
        hashes.zeros(*offset as usize - position);
        hashes.update(&weight.bytes);
        position = *offset as usize + weight.bytes.len();
    }
    hashes.finish()
}

/// Cuts the first `stored` bytes of the weights into files named for `stem` and their contents.
pub fn chunks(plan: &Plan, layout: &Layout, stored: usize, stem: &str, chunk_mb: u32) -> (ExternalWeights, Vec<(String, Vec<u8>)>) {
    let chunk_bytes = (chunk_mb.max(1) as usize).saturating_mul(MEBIBYTE).min(MAX_CHUNK_BYTES);
    let mut files: Vec<Vec<u8>> = Vec::new();
    pieces(plan, layout, stored, |mut piece| {
        while !piece.is_empty() {
            if files.last().is_none_or(|file| file.len() == chunk_bytes) {
                files.push(Vec::with_capacity(chunk_bytes.min(stored - files.len() * chunk_bytes)));
            }
            let file = files.last_mut().expect("there is one");
            let (head, tail) = piece.split_at(piece.len().min(chunk_bytes - file.len()));
            file.extend_from_slice(head);
            piece = tail;
        }
    });
    let files = files.into_iter().enumerate().map(|(number, bytes)| {
        let sha256 = hex(&Sha256::digest(&bytes));
        let file = format!("{stem}.weights.{number}.{}.bin", &sha256[..12]);
        (Chunk { file: file.clone(), bytes: bytes.len() as u32, sha256 }, (file, bytes))
    });
    let (chunks, files) = files.unzip();
    (ExternalWeights { chunk_bytes: chunk_bytes as u32, chunks }, files)
}

/// Chunks are counted with 32 bits.
const MAX_CHUNK_BYTES: usize = 1 << 30;

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

struct MebibyteHashes {
    current: Sha256,
    filled: usize,
    done: Vec<String>,
}

impl MebibyteHashes {
    fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (head, tail) = bytes.split_at(bytes.len().min(MEBIBYTE - self.filled));
            self.current.update(head);
            self.filled += head.len();
            bytes = tail;
            if self.filled == MEBIBYTE {
                self.close();
            }
        }
    }

    fn zeros(&mut self, count: usize) {
        (0..count).step_by(ZEROS.len()).for_each(|at| self.update(&ZEROS[..ZEROS.len().min(count - at)]));
    }

    fn close(&mut self) {
        self.done.push(hex(&self.current.finalize_reset()));
        self.filled = 0;
    }

    fn finish(mut self) -> Vec<String> {
        if self.filled > 0 {
            self.close();
        }
        self.done
    }
}
