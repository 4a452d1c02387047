//! Counts of n-grams: windows of the input compared with every n-gram of a constant pool.

use super::contrib::product;
use super::{Row, one};
use crate::error::{Fault, invalid, unsupported};
use crate::site::Site;
use ir::ops::reduce::reduce_op::ReduceKind;
use ir::pointwise::Fn;
use ir::{DType, Dim, Tensor, ValueId};

pub(super) const ROWS: &[Row] = &[one("TfIdfVectorizer", tfidf)];

/// Comparisons that one output may take.
const LIMIT: i64 = 1 << 26;

fn tfidf(s: &mut Site) -> Result<ValueId, Fault> {
    let x = s.input(0)?;
    if s.attributes.has("pool_strings") {
        unsupported!("n-grams of strings are not supported");
    }
    let list = |name: &str| Ok::<_, Fault>(s.attributes.ints(name)?.unwrap_or_default().to_vec());
    let (pool, starts, places) = (list("pool_int64s")?, list("ngram_counts")?, list("ngram_indexes")?);
    let (shortest, longest) = (s.attributes.int_or("min_gram_length", 1)?, s.attributes.int_or("max_gram_length", 1)?);
    let skips = s.attributes.int_or("max_skip_count", 0)?;
    let weights = s.attributes.floats("weights")?.map(<[f32]>::to_vec);
    let mode = s.attributes.string_or("mode", "TF")?;
    let rank = s.rank(x);
    if rank == 0 || rank > 2 || shortest < 1 || starts.len() as i64 != longest {
        invalid!("n-grams of {shortest} to {longest} elements in {} collections do not fit {}", starts.len(), s.ty(x));
    }
    let length = s.shape(x)[rank - 1].as_const().ok_or_else(|| Fault::run_time("length of the input"))?;
    // How often each n-gram of the pool occurs, one part per length.
    let mut parts = vec![];
    for n in 1..=longest {
        let first = starts[n as usize - 1];
        let last = starts.get(n as usize).copied().unwrap_or(pool.len() as i64);
        let grams = usize::try_from(first).ok().zip(usize::try_from(last).ok()).and_then(|(a, b)| pool.get(a..b));
        let Some(grams) = grams.filter(|g| g.len() % n as usize == 0) else {
            invalid!("the collections {starts:?} do not divide the pool")
        };
        if grams.is_empty() {
            continue;
        }
        let count = if n < shortest { None } else { counted(s, x, length, grams, n, if n == 1 { 0 } else { skips })? };
        parts.push(match count {
            Some(count) => count,
            None => {
                let zero = s.constant_value(Tensor::scalar(0f32));
                let shape = [&s.shape(x)[..rank - 1], &[Dim::from(grams.len() / n as usize)]].concat();
                s.expand(zero, shape)?
            }
        });
    }
    if parts.is_empty() {
        invalid!("the pool is empty");
    }
    let mut counts = s.concat(&parts, rank - 1)?;
    if mode == "IDF" {
        counts = s.binary(Fn::Min, counts, 1.0)?;
    }
    // Every n-gram to its place, with its weight.
    let n_grams = places.len();
    let size = places.iter().max().map_or(0, |p| p + 1);
    if s.shape(counts)[rank - 1] != Dim::from(n_grams) || places.iter().any(|p| *p < 0) || size > LIMIT / n_grams.max(1) as i64 {
        invalid!("the places {places:?} do not fit the pool");
    }
    let size = size as usize;
    let weight = |i: usize| if mode == "TF" { 1.0 } else { weights.as_ref().and_then(|w| w.get(i)).map_or(1.0, |w| f64::from(*w)) };
    let table =
        Tensor::from_fn(DType::F32, &[n_grams, size], |i| if places[i / size] as usize == i % size { weight(i / size) } else { 0.0 });
    let table = s.constant_value(table);
    let shape = s.shape(counts);
    let rows = s.reshape(counts, vec![shape[..rank - 1].iter().product(), n_grams.into()])?;
    let y = product(s, rows, table, false)?;
    s.reshape(y, [&shape[..rank - 1], &[Dim::from(size)]].concat())
}

/// Occurrences of n-grams, with 0 to `skips` elements between neighbours: `[…, n-grams]`; `None` where none fits.
fn counted(s: &mut Site, x: ValueId, length: i64, grams: &[i64], n: i64, skips: i64) -> Result<Option<ValueId>, Fault> {
    let rank = s.rank(x);
    let n_grams = grams.len() as i64 / n;
    if length.saturating_mul(n_grams).saturating_mul(skips.saturating_add(1)) > LIMIT {
        unsupported!("{n_grams} n-grams over {length} elements are too many");
    }
    let mut total: Option<ValueId> = None;
    for skip in 0..=skips {
        let windows = length - (n - 1) * (skip + 1);
        if windows < 1 {
            break;
        }
        let mut found: Option<ValueId> = None;
        for j in 0..n {
            let elements = s.slice(x, rank - 1, Dim::from(j * (skip + 1)), windows.into(), 1)?;
            let column = [&s.shape(elements)[..], &[1i64.into()]].concat();
            let elements = s.reshape(elements, column)?;
            let row = Tensor::from_fn(DType::I64, &[n_grams as usize], |g| grams[g * n as usize + j as usize] as f64);
            let row = s.constant_value(row);
            let row = s.cast(row, s.dtype(x))?;
            let same = s.binary(Fn::Equal, elements, row)?;
            found = Some(match found {
                Some(before) => s.binary(Fn::And, before, same)?,
                None => same,
            });
        }
        let Some(found) = found else { break };
        let found = s.cast(found, DType::F32)?;
        let count = s.reduce(ReduceKind::Sum, found, &[rank - 1], false)?;
        total = Some(match total {
            Some(before) => s.binary(Fn::Add, before, count)?,
            None => count,
        });
    }
    Ok(total)
}
