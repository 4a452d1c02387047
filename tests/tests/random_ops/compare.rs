//! Runs a batch of instances as one graph, by the interpreter and in wasmtime, and compares with what they mean.

use crate::interpreter::execute_plan;
use ir::{DType, Graph, Op, Tensor, TensorType};
use wasm_torch::NamedTensor;

/// An operator with inputs, and its results by `eval`.
pub struct Instance {
    pub op: Op,
    pub inputs: Vec<Tensor>,
    /// Which inputs are constants of the graph.
    pub constants: Vec<bool>,
    pub expected: Vec<Tensor>,
}

impl Instance {
    /// The type that counts for the table: of the first input, or of the result.
    pub fn dtype(&self) -> DType {
        self.inputs.first().unwrap_or(&self.expected[0]).dtype
    }

    /// Appends inputs, the node and outputs.
    pub fn add_to(&self, graph: &mut Graph, number: usize) {
        let mut ids = vec![];
        for (i, (tensor, constant)) in self.inputs.iter().zip(&self.constants).enumerate() {
            let name = format!("x{number}_{i}");
            ids.push(if *constant { graph.add_const(&name, tensor.clone()) } else { graph.add_input(&name, TensorType::of(tensor)) });
        }
        let layer = format!("layer{number}");
        let node = graph.add_node(self.op.clone(), &ids, &[layer.into()], &format!("v{number}")).expect("types fit");
        for (i, value) in graph.node(node).outputs.clone().into_iter().enumerate() {
            graph.add_output(&format!("y{number}_{i}"), value);
        }
    }

    fn shown(&self) -> String {
        let input = |(t, c): (&Tensor, &bool)| format!("{}{}", if *c { "constant " } else { "" }, TensorType::of(t));
        let inputs: Vec<String> = self.inputs.iter().zip(&self.constants).map(input).collect();
        format!("{} of {}", self.op, inputs.join(", "))
    }

    /// How far elements of a result may be from the meaning, relative to their size.
    fn tolerance(&self, dtype: DType) -> f64 {
        let exact = !matches!(self.op.name(), "map" | "matmul" | "conv" | "pool" | "reduce" | "softmax" | "normalize" | "recurrent");
        match dtype {
            _ if exact => 0.0,
            DType::F64 => 1e-9,
            DType::F32 => 1e-5,
            DType::F16 => 4e-3,
            DType::BF16 => 3e-2,
            _ => 0.0,
        }
    }

    /// The first difference, as a sentence. Interpreter and module agree in every bit but those of a NaN.
    fn difference(&self, o: usize, interpreted: &Tensor, module: &Tensor) -> Option<String> {
        let expected = &self.expected[o];
        if TensorType::of(interpreted) != TensorType::of(expected) || TensorType::of(module) != TensorType::of(expected) {
            return Some(format!("types {} and {}", TensorType::of(interpreted), TensorType::of(module)));
        }
        let tolerance = self.tolerance(expected.dtype);
        let sizes = expected.to_f64s();
        let largest = sizes.iter().filter(|x| x.is_finite()).fold(1.0f64, |m, x| m.max(x.abs()));
        // Sums of large and small numbers are as exact as the largest; maps are exact for each element.
        let scale = |e: f64| if self.op.name() == "map" { 1.0f64.max(e.abs()) } else { largest };
        let bits = |t: &Tensor, i: usize| t.bytes()[i * t.dtype.bytes()..][..t.dtype.bytes()].to_vec();
        (0..expected.len()).find_map(|i| {
            let (e, a, b) = (expected.get_f64(i), interpreted.get_f64(i), module.get_f64(i));
            let nan = expected.dtype.is_float() && a.is_nan() && b.is_nan();
            if !nan && bits(interpreted, i) != bits(module, i) {
                return Some(format!("element {i}: {a} by the interpreter, {b} by the module, {e} by meaning"));
            }
            let close = expected.dtype.is_float() && (nan && e.is_nan() || a == e || (a - e).abs() <= tolerance * scale(e));
            (!close && bits(expected, i) != bits(interpreted, i)).then(|| {
                let args: Vec<f64> = self.inputs.iter().filter(|t| t.shape == expected.shape).map(|t| t.get_f64(i)).collect();
                format!("element {i}: {a} instead of {e}; operands there {args:?}")
            })
        })
    }
}

/// Independent instances that make one module.
#[derive(Default)]
pub struct Batch(Vec<Instance>);

impl Batch {
    pub fn push(&mut self, instance: Instance) {
        self.0.push(instance);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Compares all results; what is wrong goes to `wrong`.
    pub fn compare(self, name: &str, wrong: &mut Vec<String>) {
        if self.0.is_empty() {
            return;
        }
        let mut graph = Graph::new(name);
        self.0.iter().enumerate().for_each(|(i, instance)| instance.add_to(&mut graph, i));
        let given = self.0.iter().flat_map(|x| x.inputs.iter().zip(&x.constants).filter(|(_, c)| !**c).map(|(t, _)| t.clone()));
        let inputs: Vec<Tensor> = given.collect();
        let plan = lower::lower(&graph, &lower::Options::default()).unwrap_or_else(|e| panic!("{e:?}\n{graph}"));
        let interpreted = match execute_plan(&plan, &inputs) {
            Ok(interpreted) => interpreted,
            Err(error) => return wrong.push(format!("{name}: the interpreter stops: {error}\n{graph}")),
        };
        let module = match run(&plan, &graph, &inputs) {
            Ok(module) => module,
            Err(error) => return wrong.push(format!("{name}: the module stops: {error}\n{graph}")),
        };
        let mut results = interpreted.iter().zip(&module);
        for instance in &self.0 {
            for o in 0..instance.expected.len() {
                let (a, b) = results.next().expect("every result is an output");
                if let Some(difference) = instance.difference(o, a, b) {
                    wrong.push(format!("{}: output {o}: {difference}", instance.shown()));
                }
            }
        }
    }
}

/// Links the plan, and runs the module in wasmtime.
fn run(plan: &lower::Plan, graph: &Graph, inputs: &[Tensor]) -> Result<Vec<Tensor>, String> {
    let linked = link::link(plan, &link::LinkInfo::default()).map_err(|e| e.to_string())?;
    let mut instance = wasm_torch::Instance::load(&linked.wasm).map_err(|e| e.to_string())?;
    let named = graph.inputs.iter().zip(inputs).map(|(id, tensor)| NamedTensor::new(&graph.value(*id).name, tensor.clone()));
    let found = instance.forward(&named.collect::<Vec<_>>()).map_err(|e| e.to_string())?;
    Ok(found.into_iter().map(|named| named.tensor).collect())
}
