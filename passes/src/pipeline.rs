//! The pass table: what runs, in which order, from which level on, and why there. A pass may stand in it several times.

use crate::context::Context;
use crate::{attention, compress, dead, fold, fuse, layout, quantize, share};
use ir::{Graph, OpError};

/// How much is done. `O3` runs the passes of `O2`; what it adds changes rounding and is the lowering's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Level {
    O0,
    O1,
    #[default]
    O2,
    O3,
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::str::FromStr for Level {
    type Err = String;
    /// `O2`, `o2` or `2`.
    fn from_str(text: &str) -> Result<Level, String> {
        match text.trim_start_matches(['O', 'o']) {
            "0" => Ok(Level::O0),
            "1" => Ok(Level::O1),
            "2" => Ok(Level::O2),
            "3" => Ok(Level::O3),
            _ => Err(format!("`{text}` is no optimisation level; there are O0, O1, O2 and O3")),
        }
    }
}

/// One row of the pipeline.
#[derive(Clone, Copy)]
pub struct Pass {
    pub name: &'static str,
    /// What it does, one line.
    pub summary: &'static str,
    /// Why it stands where it stands.
    pub place: &'static str,
    /// The lowest level that runs it.
    pub level: Level,
    /// Whether it is there to compute something else, with fewer bits: what it did is not compared with what was before.
    pub rounds: bool,
    pub(crate) run: fn(&mut Graph, &mut Context) -> Result<(), OpError>,
}

impl std::fmt::Debug for Pass {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "Pass({})", self.name)
    }
}

const FOLDING: Pass = Pass {
    name: "constant_folding",
    summary: "computes what depends on constants only and drops operations that change nothing",
    place: "first: exporters leave shape arithmetic and no-ops that hide patterns from every other pass",
    level: Level::O1,
    rounds: false,
    run: fold::constant_folding,
};
const DEAD_CODE: Pass = Pass {
    name: "eliminate_dead_code",
    summary: "drops nodes and constants that no output needs",
    place: "after folding, which leaves the folded operands behind",
    level: Level::O1,
    rounds: false,
    run: dead::eliminate_dead_code,
};
const SHARING: Pass = Pass {
    name: "share_common",
    summary: "computes equal expressions once and keeps equal constants once",
    place: "before fusion, which would copy the difference into epilogues; after it, a fused twin is still a twin",
    level: Level::O1,
    rounds: false,
    run: share::share_common,
};
const POINTWISE: Pass = Pass {
    name: "fuse_pointwise",
    summary: "merges chains of element-wise operations, and moves them into pooling, reductions, softmax and norms",
    place: "after the fusions into convolutions and matrix products, so that those get their activations first",
    level: Level::O2,
    rounds: false,
    run: fuse::fuse_pointwise,
};

/// All passes in the order in which they run.
pub const PIPELINE: &[Pass] = &[
    Pass {
        name: "integer_layers",
        summary: "layers between `DequantizeLinear` and `QuantizeLinear` compute on the integers, as quantised models mean it",
        place: "first: folding would expand the weights to f32",
        level: Level::O2,
        rounds: false,
        run: quantize::integer_layers,
    },
    FOLDING,
    DEAD_CODE,
    SHARING,
    Pass {
        name: "integer_products",
        summary: "products of centred 8-bit elements, as quantised models have them, read the 8 bits themselves; exact",
        place: "after folding, which finds the centred weights; before fusion hides the operands' forms",
        level: Level::O2,
        rounds: false,
        run: quantize::integer_products,
    },
    Pass {
        name: "fuse_conv_bn_relu",
        summary: "folds batch norms into convolution weights; bias, residual sum and activation go into the convolution's epilogue",
        place: "before the layout changes: per-channel constants still have their channels where the exporter put them",
        level: Level::O2,
        rounds: false,
        run: fuse::fuse_conv_bn_relu,
    },
    Pass {
        name: "fuse_linear_activation",
        summary: "folds constant scales into linear weights; bias, residual sum and activation go into the matrix product's epilogue",
        place: "beside the convolutions, before maps merge with each other",
        level: Level::O2,
        rounds: false,
        run: fuse::fuse_linear_activation,
    },
    Pass {
        name: "fuse_attention_ops",
        summary: "one product for the projections of attention; scales of queries and keys go behind their product",
        place: "after the biases went into the projections, before anything else is merged with the scales",
        level: Level::O2,
        rounds: false,
        run: attention::fuse_attention_ops,
    },
    POINTWISE,
    Pass {
        name: "quantize_int8",
        summary: "where it is asked for: layers on 8-bit integers, with the ranges that calibration found",
        place: "after fusion: a layer rounds once, behind its activation; before the layout changes, which 8-bit tensors follow like others",
        level: Level::O2,
        rounds: true,
        run: quantize::quantize_int8,
    },
    Pass {
        name: "nhwc_layout",
        summary: "puts channels last, so that neighbouring channels fill a SIMD vector; transposes move down until they cancel",
        place: "after fusion: fewer nodes carry a layout",
        level: Level::O2,
        rounds: false,
        run: layout::nhwc_layout,
    },
    Pass { place: "again: the layout pass leaves transposes and reshapes of constants", ..FOLDING },
    Pass { place: "again: nodes that a transpose kept apart are neighbours now", ..POINTWISE },
    Pass { place: "again: constants that became equal when folded", ..SHARING },
    Pass {
        name: "compress_weights",
        summary: "where it is asked for: weights in fewer bits, expanded when the module runs",
        place: "after the last folding, which would expand them again",
        level: Level::O1,
        rounds: true,
        run: compress::compress_weights,
    },
    Pass { place: "last: nothing unused reaches the lowering", ..DEAD_CODE },
];

/// Names of all passes, each once, in pipeline order.
pub fn names() -> Vec<&'static str> {
    let mut names = vec![];
    for pass in PIPELINE {
        if !names.contains(&pass.name) {
            names.push(pass.name);
        }
    }
    names
}

/// The first row of this name.
pub fn pass_named(name: &str) -> Option<&'static Pass> {
    PIPELINE.iter().find(|p| p.name == name)
}
