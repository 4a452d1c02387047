//! What stays in an instance between runs: saving, restoring, clearing. It runs nothing.

use super::{EngineError, InputProblem, Instance, NamedTensor, described, dtype, shape};
use ir::Tensor;

impl Instance {
    /// Every state becomes zeros, as it was when the module was loaded.
    pub fn reset_state(&mut self) {
        for state in &self.manifest.states {
            let at = (self.arena_base + state.tensor.offset) as usize;
            self.memory.write(&mut self.store, at, &vec![0; state.tensor.bytes as usize]).expect("checked when loaded");
        }
    }

    /// Copies of the states, by the names of the inputs that they are.
    pub fn save_state(&self) -> Vec<NamedTensor> {
        let read = |state: &abi::manifest::State| {
            let port = &state.tensor;
            let at = (self.arena_base + port.offset) as usize;
            let bytes = self.memory.read(&self.store, at, port.bytes as usize).expect("checked when loaded");
            let tensor = Tensor::from_bytes(dtype(port), &shape(port), &bytes).expect("checked when loaded");
            NamedTensor::new(&port.name, tensor)
        };
        self.manifest.states.iter().map(read).collect()
    }

    /// Puts saved states back: all of them, in any order.
    ///
    /// # Errors
    /// [`EngineError::Inputs`] lists every tensor that is no state, is missing or has another type; nothing is written then.
    pub fn restore_state(&mut self, states: &[NamedTensor]) -> Result<(), EngineError> {
        let expected = &self.manifest.states;
        let names: Vec<&str> = expected.iter().map(|state| &state.tensor.name[..]).collect();
        let mut problems = vec![];
        let mut problem = |sentence: String| {
            let hint =
                if names.is_empty() { "export with --state OUTPUT=INPUT".into() } else { format!("its states are: {}", names.join(", ")) };
            problems.push(InputProblem { sentence, hint: Some(hint) });
        };
        for (i, given) in states.iter().enumerate() {
            if !names.contains(&&given.name[..]) {
                problem(format!("the model has no state `{}`", given.name));
            }
            if states[..i].iter().any(|other| other.name == given.name) {
                problem(format!("the state `{}` is given twice", given.name));
            }
        }
        for port in expected.iter().map(|state| &state.tensor) {
            let wanted = described(dtype(port), &port.shape);
            match states.iter().find(|given| given.name == port.name) {
                None => problem(format!("the state `{}` is missing; expected {wanted}", port.name)),
                Some(NamedTensor { tensor, .. }) if tensor.dtype == dtype(port) && tensor.shape == shape(port) => {}
                Some(NamedTensor { tensor, .. }) => {
                    problem(format!("the state `{}` is {wanted}, found {}", port.name, described(tensor.dtype, &tensor.shape)));
                }
            }
        }
        if !problems.is_empty() {
            return Err(EngineError::Inputs(problems));
        }
        for port in expected.iter().map(|state| &state.tensor) {
            let given = states.iter().find(|given| given.name == port.name).expect("checked");
            let at = (self.arena_base + port.offset) as usize;
            self.memory.write(&mut self.store, at, given.tensor.bytes()).expect("checked when loaded");
        }
        Ok(())
    }
}
