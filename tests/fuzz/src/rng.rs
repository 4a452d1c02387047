//! Random numbers from a seed, and the extreme ones that break things.

/// SplitMix64.
#[derive(Debug, Clone)]
pub struct Rng(u64);

/// Numbers at which sizes, offsets and indices go wrong.
const EXTREMES: &[i64] = &[
    i64::MIN,
    i64::MIN + 1,
    -(1 << 62),
    -(1 << 40),
    i32::MIN as i64,
    -1000,
    -3,
    -2,
    -1,
    0,
    1,
    2,
    3,
    7,
    63,
    64,
    255,
    256,
    65_535,
    65_536,
    1 << 20,
    (1 << 30) - 1,
    1 << 30,
    i32::MAX as i64,
    1 << 31,
    u32::MAX as i64,
    1 << 32,
    (1 << 40) - 1,
    1 << 40,
    (1 << 53) + 1,
    1 << 61,
    1 << 62,
    i64::MAX - 1,
    i64::MAX,
];

impl Rng {
    pub fn new(seed: u64) -> Rng {
        Rng(seed.wrapping_mul(0xd134_2543_de82_ef95) ^ 0x5851_f42d_4c95_7f2d)
    }

    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`; 0 for 0.
    pub fn below(&mut self, n: usize) -> usize {
        if n == 0 { 0 } else { (self.bits() % n as u64) as usize }
    }

    /// One of `from..=to`.
    pub fn range(&mut self, from: i64, to: i64) -> i64 {
        from + (self.bits() % (to - from + 1) as u64) as i64
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        if items.is_empty() { None } else { items.get(self.below(items.len())) }
    }

    pub fn pick_mut<'a, T>(&mut self, items: &'a mut [T]) -> Option<&'a mut T> {
        if items.is_empty() {
            return None;
        }
        let i = self.below(items.len());
        items.get_mut(i)
    }

    /// A number that is small, extreme, or near `old`.
    pub fn wild(&mut self, old: i64) -> i64 {
        match self.below(6) {
            0 => old.wrapping_add(1),
            1 => old.wrapping_sub(1),
            2 => old.wrapping_neg(),
            3 => self.range(-9, 9),
            _ => *self.pick(EXTREMES).expect("there are some"),
        }
    }

    pub fn wild_float(&mut self) -> f32 {
        *self.pick(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, -0.0, 0.0, 1e-40, -1.0, 0.5, 2.0, 1e10]).expect("some")
    }
}
