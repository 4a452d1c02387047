//! FlexAttention: attention whose scores and probabilities go through bodies of the model's own.

use crate::control::Structured;
use crate::error::{Fault, invalid};
use crate::import::{Importer, Slot};
use crate::ops::attention;
use crate::tensor::dtype;
use ir::ValueId;
use ir::pointwise::Fn;

impl<'m> Importer<'m> {
    /// Attention whose scores and probabilities bodies may change.
    pub(crate) fn flex_attention(&mut self, s: &Structured<'_, 'm>) -> Result<Vec<Slot<'m>>, Fault> {
        let (q, k, v) = (s.value(0)?, s.value(1)?, s.value(2)?);
        let own = self.graph.ty(q).dtype;
        let precise = match s.attributes.int_or("softmax_precision", 0)? {
            0 if own == ir::DType::F64 => own,
            0 => ir::DType::F32,
            number => dtype(i32::try_from(number).unwrap_or(-1))?,
        };
        let mut site = self.site(s.node, vec![], s.attributes.clone(), s.scope);
        let scale = attention::scale_of(&site, q)?;
        let (wide_q, wide_k) = (site.cast(q, precise)?, site.cast(k, precise)?);
        let product = attention::grouped_product(&mut site, wide_q, wide_k, true)?;
        let scores = site.binary(Fn::Mul, product, scale)?;
        let Some(scores) = self.modified(s, "score_mod", scores)? else { return Ok(vec![]) };
        let mut site = self.site(s.node, vec![], s.attributes.clone(), s.scope);
        let probabilities = attention::softmax(&mut site, scores)?;
        let Some(probabilities) = self.modified(s, "prob_mod", probabilities)? else { return Ok(vec![]) };
        let mut site = self.site(s.node, vec![], s.attributes.clone(), s.scope);
        let wide_v = site.cast(v, precise)?;
        let y = attention::grouped_product(&mut site, probabilities, wide_v, false)?;
        Ok(vec![Slot::Value(site.cast(y, own)?)])
    }

    fn modified(&mut self, s: &Structured<'_, 'm>, name: &str, x: ValueId) -> Result<Option<ValueId>, Fault> {
        if !s.attributes.has(name) {
            return Ok(Some(x));
        }
        match self.body(s.body(name)?, &[Slot::Value(x)], s.scope)?[..] {
            [Slot::Value(y)] if self.graph.ty(y) == self.graph.ty(x) => Ok(Some(y)),
            [Slot::Unknown] => Ok(None),
            _ => invalid!("`{name}` must give one tensor of its input's type {}", self.graph.ty(x)),
        }
    }
}
