//! Damage that knows nothing of what the bytes mean: flips, truncation, insertions, repeats.

use crate::rng::Rng;

/// Bytes with one to eight kinds of damage.
pub(crate) fn damage(bytes: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..1 + rng.below(8) {
        if bytes.is_empty() {
            return noise(rng);
        }
        let at = rng.below(bytes.len());
        let n = (1 + rng.below(16)).min(bytes.len() - at);
        match rng.below(9) {
            0..=2 => bytes[at] ^= 1 << rng.below(8),
            3 => bytes[at] = rng.bits() as u8,
            4 => bytes[at] = 0xff,
            5 => {
                bytes.drain(at..at + n);
            }
            6 => {
                let piece = bytes[at..at + n].to_vec();
                let to = rng.below(bytes.len());
                bytes.splice(to..to, piece);
            }
            7 => {
                let piece: Vec<u8> = (0..n).map(|_| rng.bits() as u8).collect();
                bytes.splice(at..at, piece);
            }
            _ => {
                if rng.one_in(4) {
                    bytes.truncate(at);
                } else {
                    // A varint of the largest number.
                    bytes.splice(at..at, [0xff, 0xff, 0xff, 0xff, 0x0f]);
                }
            }
        }
    }
    bytes
}

/// Anything at all.
pub(crate) fn noise(rng: &mut Rng) -> Vec<u8> {
    let n = rng.below(200);
    let mut bytes: Vec<u8> = (0..n).map(|_| rng.bits() as u8).collect();
    if rng.one_in(2) {
        bytes.splice(0..0, [8, 9, 0x3a]);
    }
    bytes
}
