//! `gather(data, indices)`: takes slices of `data` along one axis at integer positions.

use crate::algorithm::{Access, Affine, Algorithm, Gather as GatherNest};
use crate::dim::Dim;
use crate::graph::TensorType;
use crate::ops::{Arity, OpDef, OpError};
use crate::tensor::{Tensor, strides};
use crate::{attrs, op_error};

attrs! {
    /// `data: [a…, n, b…]`, `indices: [i…]` → `[a…, i…, b…]`. Negative indices count from the end; others outside the
    /// axis are an error.
    pub struct Gather {
        pub axis: i64,
    }
}

impl OpDef for Gather {
    fn arity(&self) -> Arity {
        Arity::Exactly(2)
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        let (data, indices) = (inputs[0], inputs[1]);
        if self.axis < 0 || self.axis >= data.rank() as i64 {
            op_error!("gather: axis {} is out of range for {data}", self.axis);
        }
        if !indices.dtype.is_int() {
            op_error!("gather needs integer indices, found {indices}");
        }
        let axis = self.axis as usize;
        let shape = data.shape[..axis].iter().chain(&indices.shape).chain(&data.shape[axis + 1..]).cloned();
        Ok(vec![TensorType { dtype: data.dtype, shape: shape.collect() }])
    }

    fn eval(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>, OpError> {
        let (data, indices) = (inputs[0], inputs[1]);
        let (axis, r) = (self.axis as usize, indices.rank());
        let n = data.shape[axis] as i64;
        let picks = indices.to_i64s();
        if let Some(bad) = picks.iter().find(|i| **i < -n || **i >= n) {
            op_error!("gather: index {bad} is out of range for size {n}");
        }
        let shape: Vec<usize> = data.shape[..axis].iter().chain(&indices.shape).chain(&data.shape[axis + 1..]).copied().collect();
        let (ds, is) = (strides(&data.shape), strides(&indices.shape));
        Ok(vec![data.gather_elements(&shape, |index| {
            let pick = picks[index[axis..axis + r].iter().zip(&is).map(|(i, s)| i * s).sum::<usize>()];
            let pick = if pick < 0 { pick + n } else { pick } as usize;
            let before: usize = index[..axis].iter().zip(&ds).map(|(i, s)| i * s).sum();
            let after: usize = index[axis + r..].iter().zip(&ds[axis + 1..]).map(|(i, s)| i * s).sum();
            Some(before + pick * ds[axis] + after)
        })])
    }

    fn algorithm(&self, inputs: &[&TensorType], output: &TensorType) -> Algorithm {
        let (axis, r) = (self.axis as usize, inputs[1].rank());
        let data = (0..inputs[0].rank()).map(|d| match d {
            d if d < axis => Affine::axis(d),
            d if d == axis => Affine::constant(0i64),
            d => Affine::axis(d + r - 1),
        });
        Algorithm::Gather(GatherNest {
            axes: output.shape.clone(),
            data: Access::new(0, data.collect()),
            dim: axis,
            indices: Access::new(1, (0..r).map(|i| Affine::axis(axis + i)).collect()),
        })
    }

    fn sizes(&self, known: &[Option<&[Dim]>], types: &[&TensorType]) -> Option<Vec<Dim>> {
        let (data, picks) = (known[0]?, known[1]?);
        if types[0].rank() != 1 {
            return None;
        }
        picks.iter().map(|p| p.as_const().and_then(|p| data.get(if p < 0 { p + data.len() as i64 } else { p } as usize).cloned())).collect()
    }
}
