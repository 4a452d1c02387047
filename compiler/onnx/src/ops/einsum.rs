//! Einsum: operands joined pairwise by transpositions and one matrix product each.

use super::{Row, one};
use crate::error::{Fault, invalid, unsupported};
use crate::site::Site;
use ir::ops::contract::matmul::MatMul;
use ir::ops::reduce::reduce_op::ReduceKind;
use ir::pointwise::{Fn, Pointwise};
use ir::{Dim, ValueId};

pub(super) const ROWS: &[Row] = &[one("Einsum", einsum)];

/// A tensor whose dimensions have labels; those of an ellipsis are the characters from `!` on.
#[derive(Debug, Clone)]
struct Labelled {
    value: ValueId,
    labels: Vec<char>,
}

/// Labels of a term such as `b...i`; an ellipsis stands for `wide` dimensions.
fn labels(term: &str, wide: usize) -> Result<Vec<char>, Fault> {
    let ellipsis: String = (0..wide).map(|i| char::from(b' ' + 1 + i as u8)).collect();
    let term = term.replacen("...", "\u{0}", 1);
    let mut result = vec![];
    for c in term.chars() {
        match c {
            '\u{0}' => result.extend(ellipsis.chars()),
            c if c.is_ascii_alphabetic() => result.push(c),
            c => invalid!("the equation has an unexpected `{c}`"),
        }
    }
    Ok(result)
}

fn einsum(s: &mut Site) -> Result<ValueId, Fault> {
    let inputs = s.variadic()?;
    let equation: String = s.attributes.string_or("equation", "")?.chars().filter(|c| !c.is_whitespace()).collect();
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left, Some(right)),
        None => (&equation[..], None),
    };
    let terms: Vec<&str> = left.split(',').collect();
    if terms.len() != inputs.len() {
        invalid!("the equation `{equation}` has {} operands, found {}", terms.len(), inputs.len());
    }
    // Dimensions that each ellipsis covers; they align at the end.
    let mut widths = vec![];
    for (term, v) in terms.iter().zip(&inputs) {
        let named = term.replace("...", "").len();
        let Some(width) = s.rank(*v).checked_sub(named) else { invalid!("`{term}` does not fit {}", s.ty(*v)) };
        if width > 0 && !term.contains("...") {
            invalid!("`{term}` does not fit {}", s.ty(*v));
        }
        widths.push(width);
    }
    let wide = widths.iter().copied().max().unwrap_or(0);
    let mut operands = vec![];
    for ((term, v), width) in terms.iter().zip(&inputs).zip(&widths) {
        let mut value = *v;
        if term.contains("...") && *width < wide {
            let at = term.find("...").unwrap_or(0);
            let mut shape = s.shape(value);
            shape.splice(at..at, vec![Dim::from(1i64); wide - width]);
            value = s.reshape(value, shape)?;
        }
        let all = if term.contains("...") { labels(term, wide)? } else { labels(term, 0)? };
        operands.push(diagonal(s, Labelled { value, labels: all })?);
    }
    let output = match right {
        Some(right) => labels(right, wide)?,
        None => implicit_output(&operands, wide),
    };
    if let Some(c) = output.iter().find(|c| !operands.iter().any(|o| o.labels.contains(c))) {
        invalid!("the output's `{c}` occurs in no operand of `{equation}`");
    }
    widen(s, &mut operands)?;
    let mut rest = operands.into_iter();
    let Some(mut result) = rest.next() else { invalid!("there are no operands") };
    let rest: Vec<Labelled> = rest.collect();
    for (i, next) in rest.iter().enumerate() {
        let needed = |c: &char| output.contains(c) || rest[i + 1..].iter().any(|o| o.labels.contains(c));
        result = joined(s, result, next.clone(), &needed)?;
    }
    let result = summed(s, result, &|c| output.contains(c))?;
    let perm: Vec<usize> = output.iter().filter_map(|c| result.labels.iter().position(|l| l == c)).collect();
    if perm.len() != result.labels.len() || perm.len() != output.len() {
        invalid!("the output of `{equation}` names a dimension twice");
    }
    if perm.is_sorted() { Ok(result.value) } else { s.transpose(result.value, &perm) }
}

/// Without an arrow: the ellipsis, then the labels that occur once, in alphabetical order.
fn implicit_output(operands: &[Labelled], wide: usize) -> Vec<char> {
    let all: Vec<char> = operands.iter().flat_map(|o| o.labels.iter().copied()).collect();
    let mut single: Vec<char> =
        all.iter().copied().filter(|c| c.is_ascii_alphabetic() && all.iter().filter(|d| *d == c).count() == 1).collect();
    single.sort_unstable();
    (0..wide).map(|i| char::from(b' ' + 1 + i as u8)).chain(single).collect()
}

/// A label that an operand has twice selects a diagonal: every (n+1)-th element of the two dimensions as one.
fn diagonal(s: &mut Site, mut x: Labelled) -> Result<Labelled, Fault> {
    loop {
        let twice = (0..x.labels.len()).find_map(|i| Some((i, x.labels[i + 1..].iter().position(|c| *c == x.labels[i])? + i + 1)));
        let Some((i, j)) = twice else { return Ok(x) };
        let perm: Vec<usize> = (0..x.labels.len()).filter(|d| *d != i && *d != j).chain([i, j]).collect();
        x.value = s.transpose(x.value, &perm)?;
        x.labels = perm[..perm.len() - 1].iter().map(|d| x.labels[*d]).collect();
        let mut shape = s.shape(x.value);
        let (columns, rows) = (shape.pop(), shape.pop());
        let (Some(n), true) = (rows.clone().and_then(|d| d.as_const()), rows == columns) else {
            unsupported!("the diagonal of {} is not supported", s.ty(x.value))
        };
        shape.push(Dim::from(n * n));
        let axis = shape.len() - 1;
        let flat = s.reshape(x.value, shape)?;
        x.value = s.slice(flat, axis, 0i64.into(), n.into(), n + 1)?;
    }
}

/// Dimensions of size 1 take the size that others have under the same label.
fn widen(s: &mut Site, operands: &mut [Labelled]) -> Result<(), Fault> {
    let sized: Vec<(char, Dim)> = operands.iter().flat_map(|o| o.labels.iter().copied().zip(s.shape(o.value))).collect();
    for o in operands {
        let shape = s.shape(o.value);
        let target = o.labels.iter().zip(&shape).map(|(c, d)| {
            let largest = sized.iter().find(|(l, size)| l == c && *size != 1).map(|(_, size)| size.clone());
            if *d == 1 { largest.unwrap_or_else(|| d.clone()) } else { d.clone() }
        });
        o.value = s.expand(o.value, target.collect())?;
    }
    Ok(())
}

/// Sums the dimensions that nothing needs.
fn summed(s: &mut Site, x: Labelled, needed: &dyn std::ops::Fn(&char) -> bool) -> Result<Labelled, Fault> {
    let axes: Vec<usize> = (0..x.labels.len()).filter(|i| !needed(&x.labels[*i])).collect();
    if axes.is_empty() {
        return Ok(x);
    }
    let value = s.reduce(ReduceKind::Sum, x.value, &axes, false)?;
    Ok(Labelled { value, labels: x.labels.into_iter().filter(|c| needed(c)).collect() })
}

/// The product of two operands, summed over the labels that both have and nothing else needs.
fn joined(s: &mut Site, a: Labelled, b: Labelled, needed: &dyn std::ops::Fn(&char) -> bool) -> Result<Labelled, Fault> {
    let a = summed(s, a.clone(), &|c| needed(c) || b.labels.contains(c))?;
    let b = summed(s, b, &|c| needed(c) || a.labels.contains(c))?;
    let shared = |c: &char| a.labels.contains(c) && b.labels.contains(c);
    let pick = |of: &Labelled, test: &dyn std::ops::Fn(&char) -> bool| of.labels.iter().copied().filter(|c| test(c)).collect::<Vec<char>>();
    let batch = pick(&a, &|c| shared(c) && needed(c));
    let depth = pick(&a, &|c| shared(c) && !needed(c));
    let (rows, columns) = (pick(&a, &|c| !shared(c)), pick(&b, &|c| !shared(c)));
    let labels = [batch.clone(), rows.clone(), columns.clone()].concat();
    let (a_shape, b_shape) = (s.shape(a.value), s.shape(b.value));
    let size = |c: &char| match a.labels.iter().position(|l| l == c) {
        Some(i) => a_shape[i].clone(),
        None => b_shape[b.labels.iter().position(|l| l == c).expect("a label of one of both")].clone(),
    };
    let sizes = |list: &[char]| list.iter().map(size).collect::<Vec<Dim>>();
    let arranged = |s: &mut Site, x: &Labelled, order: [&[char]; 3]| -> Result<ValueId, Fault> {
        let order = order.concat();
        let perm: Vec<usize> = order.iter().filter_map(|c| x.labels.iter().position(|l| l == c)).collect();
        if perm.is_sorted() { Ok(x.value) } else { s.transpose(x.value, &perm) }
    };
    let left = arranged(s, &a, [&batch, &rows, &depth])?;
    let right = arranged(s, &b, [&batch, &depth, &columns])?;
    let product = |list: &[char]| sizes(list).iter().product::<Dim>();
    let mut shape = sizes(&batch);
    let (batches, m, k, n) = (shape.clone(), product(&rows), product(&depth), product(&columns));
    let value = if depth.is_empty() {
        // No sum: an outer product is a broadcast multiplication.
        let left = s.reshape(left, [&batches[..], &[m, 1i64.into()]].concat())?;
        let right = s.reshape(right, [&batches[..], &[1i64.into(), n]].concat())?;
        s.binary(Fn::Mul, left, right)?
    } else {
        let left = s.reshape(left, [&batches[..], &[m, k.clone()]].concat())?;
        let right = s.reshape(right, [&batches[..], &[k, n]].concat())?;
        s.add(MatMul { transpose_b: false, epilogue: Pointwise::identity() }, &[left, right])?
    };
    shape.extend(sizes(&rows));
    shape.extend(sizes(&columns));
    Ok(Labelled { value: s.reshape(value, shape)?, labels })
}
