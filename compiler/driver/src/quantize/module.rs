//! A graph as a module that runs here: compiled for the embedded engine alone, with inner tensors as further outputs.

use crate::{Config, Error, Instance, NamedTensor, export};
use ir::{Graph, Tensor, ValueId};
use std::sync::Arc;

/// Where a probed tensor comes from.
#[derive(Debug, Clone)]
enum Probe {
    /// The output of this number.
    Output(usize),
    /// The model's input of this name.
    Input(String),
}

pub struct Module {
    instance: Instance,
    outputs: usize,
    probes: Vec<Probe>,
}

impl Module {
    /// `graph` has gone through the passes before `quantize_int8`, and through it where it is to be quantised.
    pub fn with_probes(graph: &Graph, probes: &[ValueId], config: &Config) -> Result<Module, Error> {
        let mut graph = graph.clone();
        let outputs = graph.outputs.len();
        let mut found = vec![];
        for (i, value) in probes.iter().enumerate() {
            found.push(match graph.inputs.contains(value) {
                true => Probe::Input(graph.value(*value).name.clone()),
                false => {
                    graph.add_output(&format!("probe:{i}"), *value);
                    Probe::Output(graph.outputs.len() - 1)
                }
            });
        }
        let mut config = config.clone();
        config.passes = passes::Options { level: config.passes.level, disabled: config.passes.disabled, ..passes::Options::default() };
        config.link.variants = vec![link::Kind::Baseline];
        config.link.external_weights = None;
        export::run_passes(&mut graph, &config, &mut |_| {})?;
        let plan = export::lower(&graph, &config)?;
        let linked = link::link_optimised(&plan, &plan, &config.link, &mut |_, code| Ok(code))?;
        Ok(Module { instance: Instance::load(&linked.wasm)?, outputs, probes: found })
    }

    pub fn new(graph: &Graph, config: &Config) -> Result<Module, Error> {
        Module::with_probes(graph, &[], config)
    }

    /// The model's outputs and the probed tensors.
    pub fn run(&mut self, sample: &[NamedTensor]) -> Result<(Vec<NamedTensor>, Vec<Tensor>), Error> {
        let mut outputs = self.instance.forward(sample)?;
        let probed: Arc<[NamedTensor]> = outputs.split_off(self.outputs).into();
        let tensor = |probe: &Probe| match probe {
            Probe::Output(i) => probed[i - self.outputs].tensor.clone(),
            Probe::Input(name) => sample.iter().find(|s| s.name == *name).expect("inputs were checked").tensor.clone(),
        };
        Ok((outputs, self.probes.iter().map(tensor).collect()))
    }

    pub fn manifest(&self) -> &abi::manifest::Manifest {
        self.instance.manifest()
    }
}
