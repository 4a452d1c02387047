//! The writers: one file per algorithm, from a loop nest and the views of its operands to kernels and steps.

use crate::LowerError;
use crate::cx::{Cx, NodeCx};
use ir::Algorithm;

pub mod contract;
pub mod fill;
pub mod free;
pub mod gather;
pub mod halves;
pub mod map;
pub mod moves;
pub mod nest;
pub mod pack;
pub mod recurrent;
pub mod reduce;
pub mod routine;
pub mod shuffle;
pub mod window;

/// Writes one node.
pub fn write(cx: &mut Cx, nx: &NodeCx, algorithm: &Algorithm) -> Result<(), LowerError> {
    match algorithm {
        Algorithm::Map(map) => map::write(cx, nx, map),
        Algorithm::Contract(contract) => contract::write(cx, nx, contract),
        Algorithm::Window(window) => window::write(cx, nx, window),
        Algorithm::Reduce(reduce) => reduce::write(cx, nx, reduce),
        Algorithm::Shuffle(shuffle) => shuffle::write(cx, nx, shuffle),
        Algorithm::Gather(gather) => gather::write(cx, nx, gather),
        Algorithm::Recurrent(recurrent) => recurrent::write(cx, nx, recurrent),
        Algorithm::Routine(routine) => routine::write(cx, nx, routine),
        Algorithm::View => Ok(()),
        Algorithm::Control => Err(LowerError::Bug { layer: nx.name.clone(), what: "control flow is no nest".into() }),
        Algorithm::Measure(_) => Err(LowerError::Bug { layer: nx.name.clone(), what: "a measure is no nest".into() }),
        Algorithm::Sizes(_) => Err(LowerError::Bug { layer: nx.name.clone(), what: "sizes are not known".into() }),
    }
}
