//! Random numbers from a counter: number i of a seed is a function of both, so that every run gives the same tensor and elements do
//! not depend on each other's order. SplitMix64's mixer (Steele, Lea, Flood 2014); statistically tested by the evaluator's tests.

use crate::{Call, Done};

/// 53 uniform bits in the open interval (0, 1).
fn unit(seed: u64, i: usize) -> f64 {
    let mix = |mut z: u64| {
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let bits = mix(mix(seed).wrapping_add((i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    ((bits >> 12) as f64 + 0.5) / 4503599627370496.0
}

/// Integer: the seed. Floats: low, high. Never the upper end, whatever the rounding.
pub fn uniform(call: &mut Call) -> Done {
    let (seed, low, high) = (call.int(0) as u64, call.float(0), call.float(1));
    let [out, ..] = &mut call.outputs;
    for i in 0..out.len() {
        // A short float's share of the bits, so that rounding does not reach 1.
        let u = unit(seed, i);
        let u = match out.dtype.bytes() {
            2 => libm::floor(u * 128.0) / 128.0,
            4 => libm::floor(u * 16777216.0) / 16777216.0,
            _ => u,
        };
        out.set_float(i, low + (high - low) * u);
    }
    Ok(())
}

/// Integer: the seed. Floats: mean, standard deviation.
pub fn normal(call: &mut Call) -> Done {
    let (seed, mean, scale) = (call.int(0) as u64, call.float(0), call.float(1));
    let [out, ..] = &mut call.outputs;
    for i in 0..out.len() {
        out.set_float(i, mean + scale * quantile(unit(seed, i)));
    }
    Ok(())
}

/// Input: probabilities. Integer: the seed.
pub fn bernoulli(call: &mut Call) -> Done {
    let (x, seed) = (call.inputs[0], call.int(0) as u64);
    let [out, ..] = &mut call.outputs;
    for i in 0..out.len() {
        out.set_int(i, i64::from(unit(seed, i) < x.float(i)));
    }
    Ok(())
}

/// Input: `[batches, classes]`. Integer: the seed. Output: `[batches, samples]`.
pub fn multinomial(call: &mut Call) -> Done {
    let (x, seed) = (call.inputs[0], call.int(0) as u64);
    let [out, ..] = &mut call.outputs;
    let (classes, samples) = (x.dim(1), out.dim(1));
    for batch in 0..out.dim(0) {
        let logit = |c: usize| x.float(batch * classes + c);
        let top = (0..classes).fold(f64::NEG_INFINITY, |m, c| m.max(logit(c)));
        let weight = |c: usize| exp(logit(c) - top);
        let total: f64 = (0..classes).map(weight).sum();
        for s in 0..samples {
            let target = unit(seed, batch * samples + s) * total;
            let mut sum = 0.0;
            let mut class = 0;
            for c in 0..classes {
                sum += weight(c);
                class = c;
                if target < sum {
                    break;
                }
            }
            out.set_int(batch * samples + s, class as i64);
        }
    }
    Ok(())
}

/// e^x for x ≤ 0. (`libm` has a table, which every module would carry.)
#[allow(clippy::excessive_precision, reason = "digits as published")]
fn exp(x: f64) -> f64 {
    let k = libm::floor(x * core::f64::consts::LOG2_E + 0.5);
    if k < -1000.0 || x.is_nan() {
        return 0.0;
    }
    let r = (x - k * 0.693147180369123816490) - k * 1.90821492927058770002e-10;
    let series = (1..=13).rev().fold(1.0, |sum, n| 1.0 + sum * r / f64::from(n));
    series * f64::from_bits(((k as i64 + 1023) as u64) << 52)
}

/// √x for x > 0, by Newton's iteration from half of the exponent. (`libm` has a table.)
fn root(x: f64) -> f64 {
    let start = f64::from_bits((x.to_bits() >> 1) + 0x1ff8_0000_0000_0000);
    (0..5).fold(start, |y, _| (y + x / y) / 2.0)
}

/// The quantile function of the normal distribution: AS 241 (Wichura 1988), about 16 digits.
#[allow(clippy::excessive_precision, reason = "digits as published")]
fn quantile(p: f64) -> f64 {
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.180625 - q * q;
        let a = ((((((r * 2509.0809287301226727 + 33430.575583588128105) * r + 67265.770927008700853) * r + 45921.953931549871457) * r
            + 13731.693765509461125)
            * r
            + 1971.5909503065514427)
            * r
            + 133.14166789178437745)
            * r
            + 3.387132872796366608;
        let b = ((((((r * 5226.495278852545925 + 28729.085735721942674) * r + 39307.89580009271061) * r + 21213.794301586595867) * r
            + 5394.1960214247511077)
            * r
            + 687.1870074920579083)
            * r
            + 42.313330701600911252)
            * r
            + 1.0;
        return q * a / b;
    }
    let r = root(-libm::log(if q < 0.0 { p } else { 1.0 - p }));
    let z = if r <= 5.0 {
        let r = r - 1.6;
        let a = ((((((r * 7.7454501427834140764e-4 + 0.0227238449892691845833) * r + 0.24178072517745061177) * r
            + 1.27045825245236838258)
            * r
            + 3.64784832476320460504)
            * r
            + 5.7694972214606914055)
            * r
            + 4.6303378461565452959)
            * r
            + 1.42343711074968357734;
        let b = ((((((r * 1.05075007164441684324e-9 + 5.475938084995344946e-4) * r + 0.0151986665636164571966) * r
            + 0.14810397642748007459)
            * r
            + 0.68976733498510000455)
            * r
            + 1.6763848301838038494)
            * r
            + 2.05319162663775882187)
            * r
            + 1.0;
        a / b
    } else {
        let r = r - 5.0;
        let a = ((((((r * 2.01033439929228813265e-7 + 2.71155556874348757815e-5) * r + 0.0012426609473880784386) * r
            + 0.026532189526576123093)
            * r
            + 0.29656057182850489123)
            * r
            + 1.7848265399172913358)
            * r
            + 5.4637849111641143699)
            * r
            + 6.6579046435011037772;
        let b = ((((((r * 2.04426310338993978564e-15 + 1.4215117583164458887e-7) * r + 1.8463183175100546818e-5) * r
            + 7.868691311456132591e-4)
            * r
            + 0.0148753612908506148525)
            * r
            + 0.13692988092273580531)
            * r
            + 0.59983220655588793769)
            * r
            + 1.0;
        a / b
    };
    if q < 0.0 { -z } else { z }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles() {
        for (p, z) in [(0.5, 0.0), (0.975, 1.959963984540054), (0.1, -1.2815515655446004), (1e-10, -6.361340902404056)] {
            assert!((quantile(p) - z).abs() < 1e-12, "{p}: {}", quantile(p));
        }
    }
}
