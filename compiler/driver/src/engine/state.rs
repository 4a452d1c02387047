//! What stays in an instance between runs: saving, restoring, clearing. It runs nothing.

use super::{EngineError, InputProblem, Instance, NamedTensor, described, dtype, shape, shape_at, spelled};
use abi::manifest::{Size, State, Symbol};
use ir::Tensor;

impl Instance {
    /// Every state becomes zeros, or as short as it may be, as it was when the module was loaded.
    pub fn reset_state(&mut self) {
        for state in &self.manifest.states {
            let at = (self.arena_base + state.tensor.offset) as usize;
            self.memory.write(&mut self.store, at, &vec![0; span(state)]).expect("checked when loaded");
        }
        for symbol in self.manifest.symbols.iter().filter(|symbol| symbol.kept) {
            let at = (self.arena_base + symbol.offset) as usize;
            self.memory.write(&mut self.store, at, &[0; 4]).expect("checked when loaded");
        }
    }

    /// The values of the manifest's symbols that the module keeps: sizes of states that grow.
    pub fn kept_sizes(&self) -> Vec<Option<i64>> {
        self.manifest.symbols.iter().map(|symbol| symbol.kept.then(|| self.word_of(symbol))).collect()
    }

    /// The values of the symbols after a run: those that it found are in memory.
    pub(super) fn with_found(&self, sizes: &[i64]) -> Vec<i64> {
        let value = |(symbol, value): (&Symbol, &i64)| if symbol.found { self.word_of(symbol) } else { *value };
        self.manifest.symbols.iter().zip(sizes).map(value).collect()
    }

    fn word_of(&self, symbol: &Symbol) -> i64 {
        let bytes = self.memory.read(&self.store, (self.arena_base + symbol.offset) as usize, 4).expect("checked when loaded");
        let word = i32::from_le_bytes(*bytes.first_chunk().expect("four bytes"));
        i64::from(word).max(symbol.min)
    }

    /// Whether a state has grown so large that no run may begin with it.
    pub fn is_full(&self) -> bool {
        self.kept_sizes().iter().zip(&self.manifest.symbols).any(|(value, symbol)| value.is_some_and(|value| value > symbol.max))
    }

    /// Whether the shape of an input depends on how large a state is: inputs of one run do not fit the next one.
    pub fn has_inputs_that_grow(&self) -> bool {
        let symbols = &self.manifest.symbols;
        let kept = |name: &str| symbols.iter().any(|symbol| symbol.kept && symbol.name == name);
        let value = |name: &str| (!kept(name)).then_some(1);
        self.manifest.inputs.iter().filter_map(|input| input.sizes.as_ref()).flatten().any(|size| size.value(&value).is_none())
    }

    /// Copies of the states, by the names of the inputs that they are, at the sizes that they have now.
    pub fn save_state(&self) -> Vec<NamedTensor> {
        let kept: Vec<i64> = self.kept_sizes().into_iter().map(Option::unwrap_or_default).collect();
        let read = |state: &State| {
            let port = &state.tensor;
            let at = (self.arena_base + port.offset) as usize;
            let bytes = self.memory.read(&self.store, at, span(state)).expect("checked when loaded");
            let shape = shape_at(&self.manifest, port, &kept);
            let mut tensor = Tensor::zeros(dtype(port), &shape);
            let dense = tensor.bytes_mut();
            runs(state, &shape, |to, from, n| dense[to..][..n].copy_from_slice(&bytes[from..][..n]));
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
        let mut sizes: Vec<Option<(i64, &str)>> = vec![None; self.manifest.symbols.len()];
        for port in expected.iter().map(|state| &state.tensor) {
            let wanted = match &port.sizes {
                Some(sizes) => format!("{}[{}]", dtype(port), spelled(sizes)),
                None => described(dtype(port), &port.shape),
            };
            let Some(NamedTensor { tensor, .. }) = states.iter().find(|given| given.name == port.name) else {
                problem(format!("the state `{}` is missing; expected {wanted}", port.name));
                continue;
            };
            let fits = match &port.sizes {
                None => tensor.shape == shape(port),
                Some(sizes_of) => {
                    tensor.shape.len() == port.shape.len()
                        && sizes_of.iter().zip(&tensor.shape).zip(&port.shape).all(|((size, found), most)| match size {
                            Size::Number(n) => *n == *found as i64,
                            Size::Symbol(name) => {
                                let Some(at) = self.manifest.symbols.iter().position(|s| s.name == *name) else { return false };
                                let found = *found as i64;
                                let first = *sizes[at].get_or_insert((found, &port.name));
                                first.0 == found && (self.manifest.symbols[at].min..=*most as i64).contains(&found)
                            }
                            Size::Apply(..) => false,
                        })
                }
            };
            if tensor.dtype != dtype(port) || !fits {
                problem(format!("the state `{}` is {wanted}, found {}", port.name, described(tensor.dtype, &tensor.shape)));
            }
        }
        let sizes: Vec<Option<i64>> = sizes.into_iter().map(|size| size.map(|(size, _)| size)).collect();
        if !problems.is_empty() {
            return Err(EngineError::Inputs(problems));
        }
        for state in expected {
            let given = &states.iter().find(|given| given.name == state.tensor.name).expect("checked").tensor;
            let at = (self.arena_base + state.tensor.offset) as usize;
            let (memory, store, bytes) = (&mut self.memory, &mut self.store, given.bytes());
            runs(state, &given.shape, |from, to, n| memory.write(&mut *store, at + to, &bytes[from..][..n]).expect("checked when loaded"));
        }
        for (symbol, size) in self.manifest.symbols.iter().zip(sizes).filter(|(symbol, _)| symbol.kept) {
            let at = (self.arena_base + symbol.offset) as usize;
            let word = (size.unwrap_or(symbol.min) as i32).to_le_bytes();
            self.memory.write(&mut self.store, at, &word).expect("checked when loaded");
        }
        Ok(())
    }
}

/// Bytes from the first to the last element of a state at its largest.
fn span(state: &State) -> usize {
    let Some(strides) = &state.strides else { return state.tensor.bytes as usize };
    if state.tensor.shape.contains(&0) {
        return 0;
    }
    let last: u64 = state.tensor.shape.iter().zip(strides).map(|(size, stride)| (size - 1) * stride).sum();
    (last as usize + 1) * dtype(&state.tensor).bytes()
}

/// Pieces of a state of `shape` that lie together: their places, in bytes, in a dense tensor and in the module, and their sizes.
fn runs(state: &State, shape: &[usize], mut run: impl FnMut(usize, usize, usize)) {
    let bytes = dtype(&state.tensor).bytes();
    let dense = ir::tensor::strides(shape);
    let strides: Vec<usize> = state.strides.as_ref().map_or_else(|| dense.clone(), |strides| strides.iter().map(|s| *s as usize).collect());
    let first = (0..shape.len()).rev().take_while(|d| strides[*d] == dense[*d]).last().unwrap_or(shape.len());
    let size: usize = shape[first..].iter().product();
    let count: usize = shape[..first].iter().product();
    for i in 0..count * size.min(1) {
        let (mut rest, mut at) = (i, 0);
        for d in (0..first).rev() {
            at += rest % shape[d] * strides[d];
            rest /= shape[d];
        }
        run(i * size * bytes, at * bytes, size * bytes);
    }
}
