//! Minimal filtering along one axis, F(outputs, taps): its transforms, over four channels at a time. Data, filter and products are
//! polynomials that are taken at the points 0, ±1, ±2, (±1/2), ∞. Lavin and Gray 2015, equations 8 to 13; Winograd 1980.

use kernel::{F32x4, K, V};

type Values = Vec<V<F32x4>>;

/// How one axis is filtered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Along {
    /// Outputs that are computed together.
    pub tile: usize,
    pub taps: usize,
}

impl Along {
    /// The form for so many taps: of six points for 3, of eight for 5 and 7. One tap is no filter.
    pub fn of(taps: usize) -> Option<Along> {
        let tile = match taps {
            1 => 1,
            3 | 5 => 4,
            7 => 2,
            _ => return None,
        };
        Some(Along { tile, taps })
    }

    /// Inputs of a tile, and multiplications for it: points.
    pub fn patch(self) -> usize {
        self.tile + self.taps - 1
    }

    /// The positive points of each pair beside 0 and ∞, and by what a filter's value there is divided.
    fn pairs(self) -> &'static [(f32, f32)] {
        match self.patch() {
            1 => &[],
            6 => &[(1.0, -6.0), (2.0, 24.0)],
            8 => &[(1.0, -4.5), (2.0, 90.0), (0.5, 1.40625)],
            other => unreachable!("no form has {other} points"),
        }
    }

    /// `Bᵀ d`: the values of a patch.
    pub fn input(self, k: &mut K, d: &[V<F32x4>]) -> Values {
        if self.patch() == 1 {
            return d.to_vec();
        }
        if self.patch() == 6 {
            let (two, four, five) = (k.constant(2.0), k.constant(4.0), k.constant(5.0));
            let a = k.let_("a", d[4] - four * d[2]);
            let b = k.let_("b", d[3] - four * d[1]);
            let c = k.let_("c", d[4] - d[2]);
            let e = k.let_("e", two * (d[3] - d[1]));
            return vec![
                k.let_("t", four * d[0] - five * d[2] + d[4]),
                k.let_("t", a + b),
                k.let_("t", a - b),
                k.let_("t", c + e),
                k.let_("t", c - e),
                k.let_("t", four * d[1] - five * d[3] + d[5]),
            ];
        }
        let [quarter, half, two, four, five, q17, q21, q5, h5] = [0.25, 0.5, 2.0, 4.0, 5.0, 4.25, 5.25, 1.25, 2.5].map(|x| k.constant(x));
        let a = k.let_("a", d[2] - q17 * d[4] + d[6]);
        let b = k.let_("b", d[1] - q17 * d[3] + d[5]);
        let c = k.let_("c", quarter * d[2] - q5 * d[4] + d[6]);
        let e = k.let_("e", half * d[1] - h5 * d[3] + two * d[5]);
        let f = k.let_("f", four * d[2] - five * d[4] + d[6]);
        let g = k.let_("g", two * d[1] - h5 * d[3] + half * d[5]);
        vec![
            k.let_("t", d[0] - d[6] + q21 * (d[4] - d[2])),
            k.let_("t", a + b),
            k.let_("t", a - b),
            k.let_("t", c + e),
            k.let_("t", c - e),
            k.let_("t", f + g),
            k.let_("t", f - g),
            k.let_("t", d[7] - d[1] + q21 * (d[3] - d[5])),
        ]
    }

    /// `G g`: the values of a filter.
    pub fn filter(self, k: &mut K, g: &[V<F32x4>]) -> Values {
        let (first, last) = (g[0], g[self.taps - 1]);
        if self.patch() == 1 {
            return g.to_vec();
        }
        // At 0 six points divide by 4.
        let at_zero = if self.patch() == 6 { k.constant(0.25) * first } else { first.get() };
        let mut values = vec![k.let_("u", at_zero)];
        for (point, divisor) in self.pairs() {
            // Even and odd powers: their sum and difference are the values at both points of a pair.
            let [even, odd] = [0, 1].map(|start| {
                let taps = (start..self.taps).step_by(2);
                // At ±1 all powers are 1.
                let sum = if *point == 1.0 {
                    let sum = taps.map(|i| g[i].get()).reduce(|sum, tap| sum + tap);
                    k.constant(1.0 / divisor) * sum.expect("a form has three taps or more")
                } else {
                    let terms = taps.map(|i| k.constant(point.powi(i as i32) / divisor) * g[i]);
                    terms.reduce(|sum, term| sum + term).expect("a form has three taps or more")
                };
                k.let_("half", sum)
            });
            values.push(k.let_("u", even + odd));
            values.push(k.let_("u", even - odd));
        }
        values.push(last);
        values
    }

    /// `Aᵀ m`: the outputs of a tile.
    pub fn output(self, k: &mut K, m: &[V<F32x4>]) -> Values {
        if self.patch() == 1 {
            return m.to_vec();
        }
        let pairs: Vec<(f32, [V<F32x4>; 2])> = (self.pairs().iter().enumerate())
            .map(|(i, (point, _))| {
                let (plus, minus) = (m[1 + 2 * i], m[2 + 2 * i]);
                (*point, [k.let_("s", plus + minus), k.let_("d", plus - minus)])
            })
            .collect();
        let outputs = (0..self.tile).map(|i| {
            let mut sum = None;
            for (point, halves) in &pairs {
                let half = halves[i % 2];
                let factor = point.powi(i as i32);
                let term = if factor == 1.0 { half.get() } else { k.constant(factor) * half };
                sum = Some(match sum {
                    None if i == 0 => m[0] + term,
                    None => term,
                    Some(sum) => sum + term,
                });
            }
            let sum = sum.expect("there are pairs");
            k.let_("y", if i + 1 == self.tile { sum + m[self.patch() - 1] } else { sum })
        });
        outputs.collect()
    }
}
