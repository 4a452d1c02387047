//! A whole model to a graph: inputs, initialisers, nodes in order, outputs. After a problem the node's outputs are *unknown*
//! and what follows from them is not reported, so that every problem shows once.

use crate::attributes::Attributes;
use crate::census::qualified;
use crate::control::{OPERATORS, Structured};
use crate::error::{Fault, ImportErrors, Kind, Problem};
use crate::inputs::{Choices, ImportOptions, bound_value, check_dims, input_type};
use crate::load;
use crate::ops;
use crate::origin::layers;
use crate::proto::tensor_shape_proto::dimension::Value as DimValue;
use crate::proto::type_proto::Value as TypeValue;
use crate::proto::{FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};
use crate::site::{Folded, Site};
use crate::tensor::{dtype, to_dense, to_tensor};
use ir::{Graph, TensorType, ValueId};
use prost::bytes::Bytes;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An imported model.
#[derive(Debug, Clone)]
pub struct Imported {
    pub graph: Graph,
    /// Operator sets that the model names, as (domain, version); the default domain is `""`.
    pub opsets: Vec<(String, i64)>,
    /// The program that wrote the file, and its version.
    pub producer: String,
    /// Version of the file format.
    pub ir_version: i64,
    /// What looks odd but does not hinder.
    pub warnings: Vec<String>,
}

/// Imports a file. External data is looked for beside it.
pub fn import_file(path: impl AsRef<Path>, options: &ImportOptions) -> Result<Imported, ImportErrors> {
    let path = path.as_ref();
    let model = load::decode(load::read(path)?, &path.display().to_string())?;
    let base = options.base_dir.clone().or_else(|| path.parent().map(Path::to_path_buf));
    Importer::new(&model, base).import(&model, options)
}

/// Imports a model from memory. External data needs [`ImportOptions::base_dir`].
pub fn import_bytes(bytes: impl Into<Bytes>, options: &ImportOptions) -> Result<Imported, ImportErrors> {
    let model = load::decode(bytes.into(), "the input")?;
    Importer::new(&model, options.base_dir.clone()).import(&model, options)
}

/// Operator sets that the importer was written against.
const OPSETS: std::ops::RangeInclusive<i64> = 7..=28;
/// Nodes in all function calls together, and parts of sequences: functions that call functions can grow without limit.
pub(crate) const NODE_LIMIT: usize = 1 << 18;

/// What a name in the file stands for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Slot<'m> {
    Value(ValueId),
    /// An output, counted from 1, that the row of this operator does not give: a mask, statistics. An error only if it is used.
    Missing(&'m str, usize),
    /// An optional input that the caller left out, or an empty optional.
    Absent,
    /// A list of values, by its number in the importer.
    Sequence(usize),
    /// Its computation has a problem that was reported.
    Unknown,
}

/// Names visible to the nodes of a graph or of a function call.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scope<'m> {
    pub slots: HashMap<&'m str, Slot<'m>>,
    pub initializers: HashSet<&'m str>,
    /// Attributes of the function call.
    pub attributes: Attributes<'m>,
    pub opsets: HashMap<&'m str, i64>,
    /// Layers and name of the function call.
    pub caller: Option<(Vec<Arc<str>>, String)>,
    /// Function calls around this scope.
    pub depth: usize,
}

pub(crate) type FunctionKey<'m> = (&'m str, &'m str, &'m str);

pub(crate) struct Importer<'m> {
    pub graph: Graph,
    pub folded: Folded,
    /// Elements of the sequences that [`Slot::Sequence`] numbers.
    pub sequences: Vec<Vec<ValueId>>,
    /// What the main graph declares of its values.
    declared: HashMap<&'m str, &'m ValueInfoProto>,
    dims: Choices,
    base: Option<PathBuf>,
    pub functions: HashMap<FunctionKey<'m>, &'m FunctionProto>,
    problems: Vec<Problem>,
    warnings: Vec<String>,
    pub nodes: usize,
}

/// The default domain has two names.
pub(crate) fn domain(name: &str) -> &str {
    if name == "ai.onnx" { "" } else { name }
}

/// Operators whose inputs have, or broadcast to, the shape of their output.
const SAME_SHAPE: &[&str] = &["Abs", "Add", "Cast", "CastLike", "Cos", "Div", "Exp", "Identity", "Log", "Mul", "Neg", "Sqrt", "Sub"];

/// What a graph declares of its values. Undeclared inputs of pointwise nodes are taken to have the declared shape of the output:
/// such shapes only size what depends on data, and are checked at run time.
fn declared_values(graph: &GraphProto) -> HashMap<&str, &ValueInfoProto> {
    let mut declared: HashMap<&str, &ValueInfoProto> =
        graph.value_info.iter().chain(&graph.output).map(|info| (info.name(), info)).collect();
    for node in graph.node.iter().rev().filter(|node| SAME_SHAPE.contains(&node.op_type())) {
        if let Some(info) = node.output.first().and_then(|output| declared.get(output.as_str()).copied()) {
            for input in &node.input {
                declared.entry(input).or_insert(info);
            }
        }
    }
    declared
}

/// Bytes that a graph's own constants say they have.
fn constant_bytes(graph: &GraphProto) -> u128 {
    let bytes = |t: &TensorProto| {
        let elements = t.dims.iter().fold(1u128, |n, d| n.saturating_mul(u128::from(d.unsigned_abs())));
        dtype(t.data_type()).map_or(0, |dtype| elements.saturating_mul(dtype.bits() as u128) / 8)
    };
    graph.initializer.iter().map(bytes).fold(0, u128::saturating_add)
}

fn missing(op_type: &str, output: usize) -> Fault {
    Fault::unsupported(format!("output {output} of {op_type} is not supported"))
        .hint("export in evaluation mode (model.eval()), or do not use this output")
}

impl<'m> Importer<'m> {
    fn new(model: &'m ModelProto, base: Option<PathBuf>) -> Importer<'m> {
        let functions = model.functions.iter().map(|f| ((domain(f.domain()), f.name(), f.overload()), f));
        Importer {
            graph: Graph::default(),
            folded: Folded::default(),
            sequences: vec![],
            declared: HashMap::new(),
            dims: Choices::default(),
            base,
            functions: functions.collect(),
            problems: vec![],
            warnings: vec![],
            nodes: 0,
        }
    }

    fn import(mut self, model: &'m ModelProto, options: &ImportOptions) -> Result<Imported, ImportErrors> {
        let opsets = model.opset_import.iter().map(|o| (domain(o.domain()), o.version())).collect();
        let mut scope = Scope { opsets, ..Scope::default() };
        // Before version 3 of the format, files named no operator sets: the first one is meant.
        let version = *scope.opsets.entry("").or_insert(1);
        if !OPSETS.contains(&version) {
            let (first, last) = (OPSETS.start(), OPSETS.end());
            self.warnings.push(format!("operator set {version} is outside {first} to {last}, which the importer was written for"));
        }
        if let Some(graph) = &model.graph {
            self.graph(graph, &mut scope, options);
        }
        if !self.problems.is_empty() {
            self.blame_free_sizes();
            return Err(ImportErrors { problems: self.problems });
        }
        let mut opsets: Vec<(String, i64)> = scope.opsets.iter().map(|(d, v)| (d.to_string(), *v)).collect();
        opsets.sort();
        Ok(Imported {
            graph: self.graph,
            opsets,
            producer: format!("{} {}", model.producer_name(), model.producer_version()).trim().into(),
            ir_version: model.ir_version(),
            warnings: self.warnings,
        })
    }

    /// Sizes without bounds are the likely reason why something depends on data computed at run time.
    fn blame_free_sizes(&mut self) {
        let open = self.graph.symbols.iter().filter(|(_, bound)| bound.max.is_none()).map(|(name, _)| name.to_string());
        let open: Vec<String> = open.collect();
        if open.is_empty() || !self.problems.iter().any(|p| p.sentence.contains(crate::error::RUN_TIME)) {
            return;
        }
        let option = |size: &str| open.iter().map(|name| format!("--dim {name}={size}")).collect::<Vec<_>>().join(" ");
        let hint = format!("give each a size, e.g. {}, or bounds within which it stays free, e.g. {}", option("1"), option("1..512"));
        let sentence = format!("the model has free dimensions, on which the problems below may depend: {}", open.join(", "));
        self.problems.insert(0, Problem::model(Kind::Option, sentence, hint));
    }

    fn graph(&mut self, graph: &'m GraphProto, scope: &mut Scope<'m>, options: &ImportOptions) {
        self.graph.name = graph.name().into();
        if let (Some(limit), bytes) = (options.max_constant_bytes, constant_bytes(graph))
            && bytes > u128::from(limit)
        {
            let sentence = format!("the model's constants take {bytes} bytes; a module holds at most {limit}");
            let hint = "store them in fewer bits (--quantize int8-dynamic, --weights f16), or split the model into several exports";
            self.problems.push(Problem::model(Kind::Unsupported, sentence, hint));
            return;
        }
        self.initializers(graph, scope);
        let inputs: Vec<&'m ValueInfoProto> = graph.input.iter().filter(|i| !scope.initializers.contains(i.name())).collect();
        self.declared = declared_values(graph);
        let (dims, batches) = Choices::new(options, &inputs);
        self.dims = dims;
        for name in batches {
            let size = options.batch.unwrap_or(1);
            let other = format!("--dim {name}=N for another size, --dim {name}=1..N to keep it free");
            self.warnings.push(format!("the dimension `{name}` is taken for a batch and bound to {size} ({other})"));
        }
        let named: Vec<&ValueInfoProto> = inputs.iter().copied().chain(&graph.value_info).chain(&graph.output).collect();
        self.problems.extend(check_dims(&self.dims, &named));
        self.unique("input", &inputs);
        self.unique("output", &graph.output.iter().collect::<Vec<_>>());
        self.inputs(&inputs, scope, options);
        self.run(&graph.node, scope);
        if graph.output.is_empty() {
            self.problems.push(Problem::model(Kind::Invalid, "the model has no outputs", "export it again, returning a tensor"));
        }
        for output in &graph.output {
            match scope.slots.get(output.name()) {
                Some(Slot::Value(value)) => {
                    self.check_output(output, *value);
                    self.graph.add_output(output.name(), *value);
                }
                Some(Slot::Unknown) => {}
                Some(Slot::Sequence(_)) => {
                    let sentence = format!("the model's output `{}` is a sequence; only tensors are supported", output.name());
                    self.problems.push(Problem::model(Kind::Unsupported, sentence, "join or split the sequence inside the model"));
                }
                Some(Slot::Missing(op_type, i)) => {
                    let fault = missing(op_type, *i);
                    self.fault(fault, |p| p.sentence = format!("the model's output `{}`: {}", output.name(), p.sentence));
                }
                Some(Slot::Absent) | None => {
                    let sentence = format!("no node computes the output `{}`", output.name());
                    self.problems.push(Problem::model(Kind::Invalid, sentence, "the file may be damaged; export it again"));
                }
            }
        }
    }

    /// What a graph within a node declares of its values.
    pub fn declare(&mut self, graph: &'m GraphProto) {
        for (name, info) in declared_values(graph) {
            self.declared.entry(name).or_insert(info);
        }
    }

    /// How much has been reported so far.
    pub fn mark(&self) -> (usize, usize) {
        (self.problems.len(), self.warnings.len())
    }

    /// The first problem since, when all of them are mistakes of the model.
    pub fn only_invalid_since(&self, (problems, _): (usize, usize)) -> Option<String> {
        let since = self.problems.get(problems..)?;
        since.iter().all(|p| p.kind == Kind::Invalid).then(|| since.first().map(|p| p.to_string().replace('\n', " ")))?
    }

    pub fn warn(&mut self, text: String) {
        self.warnings.push(text);
    }

    /// Forgets what has been reported since.
    pub fn rewind(&mut self, (problems, warnings): (usize, usize)) {
        self.problems.truncate(problems);
        self.warnings.truncate(warnings);
    }

    fn unique(&mut self, kind: &str, values: &[&ValueInfoProto]) {
        let mut seen = HashSet::new();
        for info in values.iter().filter(|i| !seen.insert(i.name())) {
            let sentence = format!("two {kind}s have the name `{}`", info.name());
            self.problems.push(Problem::model(Kind::Invalid, sentence, "give every input and output its own name at the export"));
        }
    }

    pub fn initializers(&mut self, graph: &'m GraphProto, scope: &mut Scope<'m>) {
        let base = self.base.clone();
        let dense = graph.initializer.iter().map(|t| (t.name(), to_tensor(t, base.as_deref())));
        let sparse = graph.sparse_initializer.iter().map(|s| (s.values.as_ref().map_or("", |v| v.name()), to_dense(s, base.as_deref())));
        // A missing data file is one problem, not one per tensor.
        let mut reported: HashSet<String> = HashSet::new();
        for (name, tensor) in dense.chain(sparse) {
            let slot = match tensor {
                Ok(tensor) => Slot::Value(self.graph.add_const(name, tensor)),
                Err(fault) => {
                    if reported.insert(fault.sentence.clone()) {
                        self.fault(fault, |p| p.sentence = format!("tensor `{name}`: {}", p.sentence));
                    }
                    Slot::Unknown
                }
            };
            scope.slots.insert(name, slot);
            scope.initializers.insert(name);
        }
    }

    fn inputs(&mut self, inputs: &[&'m ValueInfoProto], scope: &mut Scope<'m>, options: &ImportOptions) {
        for (name, _) in &options.bind_inputs {
            if !inputs.iter().any(|i| i.name() == name) {
                let names: Vec<&str> = inputs.iter().map(|i| i.name()).collect();
                let hint = format!("its inputs are: {}", names.join(", "));
                self.problems.push(Problem::model(Kind::Option, format!("the model has no input named `{name}`"), hint));
            }
        }
        for info in inputs {
            let name = info.name();
            let binding = options.bind_inputs.iter().find(|(n, _)| n == name).map(|(_, b)| b);
            let mut value = || -> Result<ValueId, Fault> {
                let ty = input_type(info, &self.dims, &mut self.graph.symbols)?;
                Ok(match binding {
                    Some(binding) => self.graph.add_const(name, bound_value(&ty, binding)?),
                    None => self.graph.add_input(name, ty),
                })
            };
            let slot = match value() {
                Ok(value) => Slot::Value(value),
                Err(fault) => {
                    self.fault(fault, |p| p.sentence = format!("input `{name}`: {}", p.sentence));
                    Slot::Unknown
                }
            };
            scope.slots.insert(name, slot);
        }
    }

    /// Expands nodes in order.
    pub fn run(&mut self, nodes: &'m [NodeProto], scope: &mut Scope<'m>) {
        for node in nodes {
            self.nodes += 1;
            if self.nodes > NODE_LIMIT {
                if self.nodes == NODE_LIMIT + 1 {
                    let sentence = format!("the model's functions expand to more than {NODE_LIMIT} nodes");
                    self.problems.push(Problem::model(Kind::Unsupported, sentence, ""));
                }
                return;
            }
            let results = self.node(node, scope).unwrap_or_else(|fault| {
                self.node_fault(fault, node, scope);
                vec![]
            });
            for (i, name) in node.output.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
                scope.slots.insert(name, results.get(i).copied().unwrap_or(Slot::Unknown));
            }
        }
    }

    /// Expands one node: what its outputs are.
    fn node(&mut self, node: &'m NodeProto, scope: &mut Scope<'m>) -> Result<Vec<Slot<'m>>, Fault> {
        let attributes = Attributes::of_node(node, &scope.attributes);
        let mut inputs = vec![];
        for name in &node.input {
            inputs.push(match scope.slots.get(name.as_str()) {
                _ if name.is_empty() => Slot::Absent,
                Some(Slot::Missing(op_type, i)) => return Err(missing(op_type, *i)),
                Some(slot) => *slot,
                None => {
                    return Err(Fault::invalid(format!("its input `{name}` is computed by no earlier node"))
                        .hint("the file may be damaged; export it again"));
                }
            });
        }
        let key = (domain(node.domain()), node.op_type(), node.overload());
        if let Some(function) = self.functions.get(&key).copied() {
            return self.call(function, node, inputs, attributes, scope);
        }
        let is_unknown = inputs.iter().any(|slot| matches!(slot, Slot::Unknown));
        if OPERATORS.contains(&(key.0, key.1)) {
            let node = Structured { node, inputs: &inputs, attributes: &attributes, scope };
            return if is_unknown { Ok(vec![]) } else { self.structured(&node) };
        }
        let version = scope.opsets.get(key.0).copied().unwrap_or(1);
        let Some(expansion) = ops::find(key.0, key.1, version) else { return Err(ops::unknown(key.0, key.1)) };
        if is_unknown {
            return Ok(vec![]);
        }
        // What passes everything through passes sequences and absent optionals too.
        if let ("Identity", [slot @ (Slot::Sequence(_) | Slot::Absent)]) = (key.1, &inputs[..]) {
            return Ok(vec![*slot]);
        }
        if inputs.iter().any(|slot| matches!(slot, Slot::Sequence(_))) {
            return Err(Fault::invalid("an input is a sequence; tensors were expected"));
        }
        let given: Vec<Option<ValueId>> = inputs.into_iter().map(|slot| if let Slot::Value(v) = slot { Some(v) } else { None }).collect();
        let prefix = self.origin(node, scope).1;
        let mut site = self.site(node, given.clone(), attributes, scope);
        let results = ops::expand(expansion, &mut site)?;
        // What passes an input through keeps that name.
        for (name, value) in node.output.iter().zip(&results).skip(1).filter(|(name, _)| !name.is_empty()) {
            if !given.contains(&Some(*value)) {
                self.graph.value_mut(*value).name = format!("{prefix}{name}");
            }
        }
        let rest = (results.len()..node.output.len()).map(|i| Slot::Missing(node.op_type(), i + 1));
        Ok(results.into_iter().map(Slot::Value).chain(rest).collect())
    }

    /// The place where a node expands.
    pub fn site(
        &mut self,
        node: &'m NodeProto,
        inputs: Vec<Option<ValueId>>,
        attributes: Attributes<'m>,
        scope: &Scope<'m>,
    ) -> Site<'_, 'm> {
        let (origin, prefix) = self.origin(node, scope);
        let first = node.output.iter().find(|o| !o.is_empty()).map_or("", String::as_str);
        Site {
            graph: &mut self.graph,
            folded: &mut self.folded,
            // Other domains' operators are expanded like those of the default one.
            version: scope.opsets.get("").copied().unwrap_or(1),
            op_type: node.op_type(),
            inputs,
            outputs: &node.output,
            attributes,
            declared: &self.declared,
            dims: &self.dims,
            base: self.base.as_deref(),
            origin,
            name: format!("{prefix}{first}"),
        }
    }

    /// Layers of a node, and the prefix of its values' names.
    pub fn origin(&self, node: &NodeProto, scope: &Scope<'m>) -> (Vec<Arc<str>>, String) {
        match &scope.caller {
            Some((layers, name)) => (layers.clone(), format!("{name}/")),
            None => (layers(node, |input| scope.initializers.contains(input)), String::new()),
        }
    }

    fn fault(&mut self, fault: Fault, complete: impl FnOnce(&mut Problem)) {
        let mut problem = Problem { kind: fault.kind, layer: None, node: None, operator: None, sentence: fault.sentence, hint: fault.hint };
        complete(&mut problem);
        self.problems.push(problem);
    }

    fn node_fault(&mut self, fault: Fault, node: &NodeProto, scope: &Scope<'m>) {
        let (layers, prefix) = self.origin(node, scope);
        let fault = match fault.hint {
            None if fault.kind == Kind::Invalid => fault.hint("check the shapes of this layer in PyTorch, and export the model again"),
            _ => fault,
        };
        self.fault(fault, |p| {
            p.layer = layers.last().map(ToString::to_string);
            p.node = Some(format!("{prefix}{}", node.name()));
            p.operator = Some(qualified(node.domain(), node.op_type()));
        });
    }

    /// Warns when an output has another shape than the file declares.
    fn check_output(&mut self, info: &ValueInfoProto, value: ValueId) {
        let Some(TypeValue::TensorType(declared)) = info.r#type.as_ref().and_then(|t| t.value.as_ref()) else { return };
        let Some(shape) = &declared.shape else { return };
        let found: &TensorType = self.graph.ty(value);
        let differs =
            |(declared, found): (&crate::proto::tensor_shape_proto::Dimension, &ir::Dim)| match (&declared.value, found.as_const()) {
                (Some(DimValue::DimValue(d)), Some(f)) => *d > 0 && *d != f,
                _ => false,
            };
        if shape.dim.len() != found.rank() || shape.dim.iter().zip(&found.shape).any(differs) {
            let dims = shape.dim.iter().map(|d| match &d.value {
                Some(DimValue::DimValue(n)) => n.to_string(),
                Some(DimValue::DimParam(name)) => name.clone(),
                None => "?".into(),
            });
            self.warnings.push(format!(
                "the output `{}` is {found}; the file declares [{}]",
                info.name(),
                dims.collect::<Vec<_>>().join(",")
            ));
        }
    }
}
