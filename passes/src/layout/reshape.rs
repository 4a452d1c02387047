//! Reshapes of permuted values. A reshape merges and splits groups of neighbouring dimensions; where a group's dimensions
//! are still neighbours in the permuted value, the same reshape works there.
//!
//! `[N, C, H, W] → [N, C, H·W]` of a value computed as `[N, H, W, C]` is `[N, H, W, C] → [N, H·W, C]`.

use super::forms::Perm;
use super::operators::Site;
use ir::ops::shuffle::reshape::Reshape;
use ir::{Dim, OpError};
use std::ops::Range;

/// Dimensions of the operand that become dimensions of the result.
struct Group {
    from: Range<usize>,
    to: Range<usize>,
}

pub fn rewrite(site: &mut Site, op: Reshape) -> Result<bool, OpError> {
    let value = site.node.inputs[0];
    let (mut form, mut perm) = site.forms.of(site.graph, value);
    let shape = site.graph.ty(value).shape.clone();
    let Some(groups) = groups(&shape, &op.shape) else { return Ok(false) };
    if !groups.iter().all(|g| together(&shape, &perm, g)) {
        // Bring each group together where its first dimension is, and the others stay in the order they have.
        let gathered = gathered(&perm, &groups);
        form = site.forms.get(site.graph, value, &gathered, &site.node.origin)?;
        perm = gathered;
    }
    // Groups in the order in which the permuted value has them. Ones follow whatever group they are written in.
    let mut sorted: Vec<&Group> = groups.iter().collect();
    sorted.sort_by_key(|g| place(&shape, &perm, g));
    let (mut new_shape, mut new_perm): (Vec<Dim>, Perm) = (vec![], vec![0; op.shape.len()]);
    for group in sorted {
        for d in group.to.clone() {
            new_perm[d] = new_shape.len();
            new_shape.push(op.shape[d].clone());
        }
    }
    if site.graph.ty(form).shape == new_shape {
        site.forms.set(site.node.outputs[0], form, new_perm);
        return Ok(true);
    }
    site.finish(Reshape { shape: new_shape }, &[form], new_perm)
}

/// The finest groups of equal products, if the sizes can be compared.
fn groups(from: &[Dim], to: &[Dim]) -> Option<Vec<Group>> {
    let mut groups: Vec<Group> = vec![];
    let (mut i, mut j) = (0, 0);
    while i < from.len() || j < to.len() {
        let (i0, j0) = (i, j);
        let (mut a, mut b) = (Dim::from(1i64), Dim::from(1i64));
        loop {
            // A one on one side needs no partner.
            if a == b && (i, j) != (i0, j0) {
                break;
            }
            let take_from = match (from.get(i), to.get(j)) {
                (None, None) => return None,
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (Some(x), Some(y)) if i == i0 && j == j0 && x == y => {
                    (i, j) = (i + 1, j + 1);
                    break;
                }
                (Some(x), Some(_)) if *x == 1 => true,
                (Some(_), Some(y)) if *y == 1 => false,
                _ => match (a.as_const(), b.as_const()) {
                    (Some(a), Some(b)) => a <= b,
                    // A product with symbols: catch up on the side that has fewer dimensions so far.
                    _ => i - i0 <= j - j0,
                },
            };
            if take_from {
                a = a * from[i].clone();
                i += 1;
            } else {
                b = b * to[j].clone();
                j += 1;
            }
        }
        groups.push(Group { from: i0..i, to: j0..j });
    }
    Some(groups)
}

/// Positions in the permuted value of a group's dimensions larger than 1.
fn positions(shape: &[Dim], perm: &[usize], group: &Group) -> Vec<usize> {
    group.from.clone().filter(|d| shape[*d] != 1).map(|d| perm[d]).collect()
}

/// The group's dimensions are neighbours in the permuted value, in order; ones do not count.
fn together(shape: &[Dim], perm: &[usize], group: &Group) -> bool {
    let at = positions(shape, perm, group);
    let (Some(first), Some(last)) = (at.first(), at.last()) else { return true };
    let between = (0..perm.len()).filter(|d| shape[*d] != 1 && (*first..=*last).contains(&perm[*d])).count();
    at.is_sorted() && between == at.len()
}

/// Where a group stands in the permuted value.
fn place(shape: &[Dim], perm: &[usize], group: &Group) -> usize {
    let at = positions(shape, perm, group);
    at.first().copied().or_else(|| group.from.clone().map(|d| perm[d]).next()).unwrap_or(usize::MAX)
}

/// A permutation like `perm` in which every group's dimensions are neighbours in order.
fn gathered(perm: &[usize], groups: &[Group]) -> Perm {
    let mut sorted: Vec<&Group> = groups.iter().filter(|g| !g.from.is_empty()).collect();
    sorted.sort_by_key(|g| perm[g.from.start]);
    let mut new = vec![0; perm.len()];
    for (at, d) in sorted.iter().flat_map(|g| g.from.clone()).enumerate() {
        new[d] = at;
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(from: &[i64], to: &[i64]) -> Option<String> {
        let dims = |s: &[i64]| s.iter().map(|d| Dim::from(*d)).collect::<Vec<_>>();
        let groups = groups(&dims(from), &dims(to))?;
        let text = |g: &Group| format!("{:?}→{:?}", &from[g.from.clone()], &to[g.to.clone()]);
        Some(groups.iter().map(text).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn groups_are_the_finest() {
        assert_eq!(split(&[2, 3, 4, 5], &[2, 3, 20]).unwrap(), "[2]→[2] [3]→[3] [4, 5]→[20]");
        assert_eq!(split(&[2, 6, 4], &[2, 2, 3, 4]).unwrap(), "[2]→[2] [6]→[2, 3] [4]→[4]");
        assert_eq!(split(&[2, 3, 1, 1], &[2, 3]).unwrap(), "[2]→[2] [3]→[3] [1]→[] [1]→[]");
        assert_eq!(split(&[6, 4], &[3, 8]).unwrap(), "[6, 4]→[3, 8]");
        assert_eq!(split(&[2, 3], &[1, 2, 1, 3]).unwrap(), "[]→[1] [2]→[2] []→[1] [3]→[3]");
    }
}
