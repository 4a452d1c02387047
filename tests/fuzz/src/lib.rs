//! Fuzzing: seeded inputs for every door of the project, each run in a process of its own with limits of time and memory.
//! A target makes an input of a seed and says what must hold of it; the rest is `supervise` and `worker`.

mod compiler;
pub mod corpus;
mod grow;
pub mod hostile;
mod importer;
#[allow(dead_code, reason = "shared with the tests of `ir`")]
#[path = "../../../compiler/ir/tests/ir/instances.rs"]
mod instances;
#[path = "../../../compiler/lower/tests/common/mod.rs"]
mod interpreter;
mod modules;
mod mutate;
mod options;
pub mod rng;
#[path = "../../tests/random_ops/routine.rs"]
mod routine;
mod shrink;
pub mod supervise;
pub mod worker;
pub mod zones;

/// What became of an input: taken, or refused with an error of the right kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Accepted,
    Refused,
}

/// One door and what must hold of it.
#[derive(Debug)]
pub struct Target {
    pub name: &'static str,
    /// Seconds of CPU that an input may take.
    pub seconds: u64,
    /// MiB that the process may take.
    pub megabytes: u64,
    /// The input of a seed, the same every time.
    pub make: fn(u64) -> Vec<u8>,
    /// What is wrong about an input; a panic is always wrong.
    pub check: fn(&[u8]) -> Result<Verdict, String>,
    /// Smaller inputs that may be wrong in the same way.
    pub shrink: fn(&[u8]) -> Vec<Vec<u8>>,
    /// Name of the file of a saved input.
    pub extension: &'static str,
}

pub const TARGETS: &[Target] =
    &[importer::IMPORTER, importer::MODELS, compiler::COMPILER, hostile::HOSTILE, hostile::TENSORS, modules::MODULES, options::OPTIONS];

/// The target of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
