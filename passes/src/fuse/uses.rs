//! Who reads a value: distinct nodes and model outputs. A snapshot; passes that change edges keep it up to date.

use ir::{Graph, NodeId, ValueId};

pub struct Uses {
    /// Distinct nodes per value.
    readers: Vec<Vec<NodeId>>,
    is_output: Vec<bool>,
}

impl Uses {
    pub fn of(graph: &Graph) -> Uses {
        let n = graph.value_ids().count();
        let mut uses = Uses { readers: vec![vec![]; n], is_output: vec![false; n] };
        for node in graph.order() {
            for input in &graph.node(node).inputs {
                uses.add(*input, node);
            }
        }
        for output in &graph.outputs {
            uses.is_output[output.value.0 as usize] = true;
        }
        uses
    }

    pub fn readers(&self, value: ValueId) -> &[NodeId] {
        self.readers.get(value.0 as usize).map_or(&[], |r| r)
    }

    pub fn is_output(&self, value: ValueId) -> bool {
        self.is_output.get(value.0 as usize).is_some_and(|o| *o)
    }

    /// Read by nobody.
    pub fn is_dead(&self, value: ValueId) -> bool {
        self.readers(value).is_empty() && !self.is_output(value)
    }

    /// Read by one node, perhaps several times, and by nobody else.
    pub fn is_single(&self, value: ValueId) -> bool {
        self.readers(value).len() == 1 && !self.is_output(value)
    }

    /// In words, for `--explain`.
    pub fn describe(&self, value: ValueId) -> String {
        let readers = self.readers(value).len();
        match self.is_output(value) {
            true if readers == 0 => "is a model output".into(),
            true => format!("is a model output and used by {readers} nodes"),
            false => format!("is used by {readers} nodes"),
        }
    }

    pub fn add(&mut self, value: ValueId, reader: NodeId) {
        let readers = &mut self.readers[value.0 as usize];
        if !readers.contains(&reader) {
            readers.push(reader);
        }
    }

    /// `gone` was taken into `by`, which reads its inputs now.
    pub fn moved(&mut self, inputs: &[ValueId], gone: NodeId, by: NodeId) {
        for input in inputs {
            self.readers[input.0 as usize].retain(|r| *r != gone);
            self.add(*input, by);
        }
    }
}
