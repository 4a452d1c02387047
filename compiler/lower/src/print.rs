//! The readable form of a plan: one line per port, buffer, weight and step. It is for people; nothing parses it.

use std::fmt::{self, Display, Formatter};

use crate::plan::{Arg, BufferId, Plan, Port, Step};

impl Display for Plan {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        writeln!(f, "plan `{}`", self.model)?;
        let percent = f64::from(self.arena_bytes) / f64::from(self.live_bytes.max(1)) * 100.0;
        writeln!(f, "arena {} bytes, {percent:.0} % of the {} live at one step", self.arena_bytes, self.live_bytes)?;
        let weights: usize = self.weights.iter().map(|w| w.bytes.len()).sum();
        let (tasks, macs) = self.steps.iter().fold((0, 0), |(t, m), s| (t + u64::from(s.tasks), m + s.macs));
        writeln!(f, "weights {weights} bytes, kernels {}, steps {}, tasks {tasks}, macs {macs}", self.kernels.len(), self.steps.len())?;
        section(f, "inputs", ["name", "type", "buffer", "offset", "bytes"], self.inputs.iter().map(|p| self.port(p)))?;
        if !self.states.is_empty() {
            let states = self.states.iter().map(|s| {
                let [name, rest @ ..] = self.port(&s.port);
                [vec![format!("{name} = {}", s.output)], rest.to_vec()].concat().try_into().expect("as many columns")
            });
            section(f, "states", ["name", "type", "buffer", "offset", "bytes"], states)?;
        }
        section(f, "outputs", ["name", "type", "buffer", "offset", "bytes"], self.outputs.iter().map(|p| self.port(p)))?;
        if !self.free.symbols.is_empty() {
            let symbols = self.free.symbols.iter().map(|(name, b)| format!("{name}={}..{}", b.min, b.max.unwrap_or(b.min)));
            let sizes = self.free.sizes.iter().enumerate().map(|(i, dim)| format!("size{i}={dim}"));
            writeln!(f, "\nfree {}\nsizes {}", symbols.collect::<Vec<_>>().join(" "), sizes.collect::<Vec<_>>().join(" "))?;
        }
        let buffers = self.buffers.iter().enumerate().map(|(i, b)| {
            let live = format!("{}..{}", b.live.start, b.live.end);
            [format!("b{i}"), b.offset.to_string(), b.bytes.to_string(), live, b.name.clone()]
        });
        section(f, "buffers", ["id", "offset", "bytes", "live", "name"], buffers)?;
        let weights = self.weights.iter().enumerate();
        let weights = weights.map(|(i, w)| [format!("w{i}"), w.bytes.len().to_string(), w.name.clone(), w.origin.join(" + ")]);
        section(f, "weights", ["id", "bytes", "name", "layers"], weights)?;
        let steps = self.steps.iter().enumerate().map(|(i, s)| self.step(i, s));
        section(f, "steps", ["step", "kernel", "tasks", "macs", "arguments", "writes", "layers"], steps)
    }
}

impl Plan {
    fn port(&self, port: &Port) -> [String; 5] {
        let shape: Vec<String> = match &port.sizes {
            Some(sizes) => sizes.iter().map(ToString::to_string).collect(),
            None => port.shape.iter().map(ToString::to_string).collect(),
        };
        let ty = format!("{}[{}]", port.dtype, shape.join(","));
        [port.name.clone(), ty, format!("b{}", port.buffer.0), port.offset.to_string(), port.bytes.to_string()]
    }

    fn step(&self, i: usize, step: &Step) -> [String; 7] {
        let kernel = &self.kernels[step.kernel.0];
        let args = step.args.iter().zip(&kernel.params).map(|(arg, param)| format!("{}={arg}", param.name));
        let writes: Vec<String> = step.writes.iter().map(|BufferId(b)| format!("b{b}")).collect();
        let (tasks, macs) = (step.tasks.to_string(), step.macs.to_string());
        let mut args = args.collect::<Vec<_>>().join(" ");
        if let Some(branch) = step.branch {
            args = format!("{args} {} step {}", if branch.when { "if set:" } else { "unless set:" }, branch.target);
        }
        [i.to_string(), kernel.name.clone(), tasks, macs, args, writes.join(" "), step.origin.join(" + ")]
    }
}

/// `b3+64`, `w2`, `17`.
impl Display for Arg {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let (kind, id, offset) = match *self {
            Arg::Buffer(id, offset) => ('b', id.0, offset),
            Arg::Weight(id, offset) => ('w', id.0, offset),
            Arg::Scalar(value) => return write!(f, "{value}"),
            Arg::Size(id) => return write!(f, "size{}", id.0),
            Arg::Records => return write!(f, "records"),
        };
        match offset {
            0 => write!(f, "{kind}{id}"),
            _ => write!(f, "{kind}{id}+{offset}"),
        }
    }
}

/// A titled table. Columns are as wide as their widest cell; the last one ends the line.
fn section<const N: usize>(f: &mut Formatter, title: &str, head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> fmt::Result {
    let rows: Vec<[String; N]> = std::iter::once(head.map(String::from)).chain(rows).collect();
    writeln!(f, "\n{title}")?;
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        writeln!(f, "  {}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::plan::*;
    use expect_test::expect;
    use kernel::K;

    #[test]
    fn a_plan_prints_as_tables() {
        let mut k = K::new("scale_f32_n4");
        let (_x, _w, _y, _n) = (k.arena("x"), k.weights("w"), k.arena("y"), k.scalar("n"));
        let port = |name: &str, buffer| Port {
            name: name.into(),
            dtype: "f32".into(),
            shape: vec![1, 4],
            sizes: None,
            buffer,
            offset: 0,
            bytes: 16,
        };
        let buffer = |name: &str, live, offset| Buffer { name: name.into(), bytes: 16, align: 64, live, offset, persistent: false };
        let args = vec![Arg::Buffer(BufferId(0), 0), Arg::Weight(WeightId(0), 4), Arg::Buffer(BufferId(1), 0), Arg::Scalar(-1)];
        let origin = vec!["net.scale".to_string(), "net.relu".to_string()];
        let (reads, writes) = (vec![BufferId(0)], vec![BufferId(1)]);
        let plan = Plan {
            model: "net".into(),
            kernels: vec![k.finish()],
            steps: vec![Step {
                kernel: KernelId(0),
                args,
                tasks: 2,
                sequential: false,
                origin: origin.clone(),
                macs: 4,
                reads,
                writes,
                branch: None,
            }],
            buffers: vec![buffer("x", 0..1, 0), buffer("scaled", 0..1, 64)],
            weights: vec![Weight { name: "net.scale.weight".into(), bytes: vec![0; 20].into(), align: 64, origin }],
            inputs: vec![port("x", BufferId(0))],
            outputs: vec![port("scaled", BufferId(1))],
            layers: vec![],
            free: Free::default(),
            states: vec![],
            arena_bytes: 128,
            live_bytes: 128,
        };
        expect![[r#"
            plan `net`
            arena 128 bytes, 100 % of the 128 live at one step
            weights 20 bytes, kernels 1, steps 1, tasks 2, macs 4

            inputs
              name  type      buffer  offset  bytes
              x     f32[1,4]  b0      0       16

            outputs
              name    type      buffer  offset  bytes
              scaled  f32[1,4]  b1      0       16

            buffers
              id  offset  bytes  live  name
              b0  0       16     0..1  x
              b1  64      16     0..1  scaled

            weights
              id  bytes  name              layers
              w0  20     net.scale.weight  net.scale + net.relu

            steps
              step  kernel        tasks  macs  arguments              writes  layers
              0     scale_f32_n4  2      4     x=b0 w=w0+4 y=b1 n=-1  b1      net.scale + net.relu
        "#]]
        .assert_eq(&plan.to_string());
    }
}
