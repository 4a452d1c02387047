//! The kernel of one time step: per phase, panel and tile the products, then the pointwise results in registers.

use super::Sizes;
use super::pack::{Panels, Run};
use crate::extent::Size;
use crate::lanes::Lanes;
use crate::pointwise;
use ir::DType;
use ir::algorithm::recurrent::{Arg, Phase, Recurrent, Source};
use kernel::{E, F32x4, I32, K, V, f32x4_splat, i32_eq, i32_ge_s, i32_lt_s, load, load_partial, load_splat32, select};

/// Steps of depth per iteration.
const UNROLL: usize = 4;

/// Parameters of the kernel: the start of this direction's part of each operand.
pub struct Pointers {
    pub inputs: V<I32>,
    /// Packed, one per phase.
    pub weights: Vec<V<I32>>,
    pub initial: Vec<V<I32>>,
    pub vectors: Vec<V<I32>>,
    pub lengths: Option<V<I32>>,
    pub y: V<I32>,
    pub finals: Vec<V<I32>>,
    /// One per result: where later phases find it.
    pub scratch: Vec<Option<V<I32>>>,
    pub steps: Size,
}

/// One direction of a recurrence while its kernel is written.
pub struct Cell<'a> {
    pub r: &'a Recurrent,
    pub sizes: Sizes,
    pub backwards: bool,
    pub phases: &'a [Panels],
    pub pointers: Pointers,
}

/// The first of a tile's batch rows in every operand. Rows lie a constant stride apart.
struct Rows {
    inputs: V<I32>,
    y: V<I32>,
    /// The states before this step.
    before: Vec<V<I32>>,
    finals: Vec<V<I32>>,
    scratch: Vec<Option<V<I32>>>,
}

impl Cell<'_> {
    /// Bytes of a row of hidden units.
    fn row(&self) -> i32 {
        4 * self.sizes.hidden as i32
    }
    /// Bytes from one batch row of the inputs to the next.
    fn input_row(&self) -> i32 {
        self.row() * (self.sizes.gates * self.sizes.directions) as i32
    }

    pub fn write(&self, k: &mut K) {
        let step = k.task();
        if let Some(now) = self.pointers.steps.now {
            k.if_(i32_ge_s(step, now), |k| k.return_());
        }
        match self.pointers.lengths {
            None => {
                let whole = self.rows(k, step, self.pointers.steps.get(), 0.into());
                for phase in 0..self.phases.len() {
                    self.panels(k, phase, &mut |k, panel, run| {
                        k.for_tiles("batch", self.sizes.batch, self.phases[phase].tile.rows, |k, first, n| {
                            let rows = self.moved(k, &whole, first);
                            self.tile(k, phase, &rows, panel.clone(), run, n);
                        });
                    });
                }
                // The last value of the first state is the last output.
                k.if_(i32_eq(step + 1, self.pointers.steps.get()), |k| {
                    k.copy(self.pointers.finals[0], whole.y, self.sizes.batch as i32 * self.row());
                });
            }
            Some(lengths) => {
                self.each(k, |k, b| {
                    let length = self.length(k, lengths, b);
                    let ended = i32_ge_s(step, length);
                    k.if_(ended, |k| {
                        let y = self.pointers.y + step * (self.sizes.directions * self.sizes.batch) as i32 * self.row() + b * self.row();
                        k.fill(y, 0, self.row());
                    });
                    k.if_(i32_eq(length | step, 0), |k| {
                        for last in &self.pointers.finals {
                            k.fill(*last + b * self.row(), 0, self.row());
                        }
                    });
                });
                for phase in 0..self.phases.len() {
                    self.panels(k, phase, &mut |k, panel, run| {
                        self.each(k, |k, b| {
                            let length = self.length(k, lengths, b);
                            k.if_(i32_lt_s(step, length), |k| {
                                let rows = self.rows(k, step, length.get(), b.get());
                                self.tile(k, phase, &rows, panel.clone(), run, 1);
                            });
                        });
                    });
                }
                self.each(k, |k, b| {
                    let length = self.length(k, lengths, b);
                    k.if_(i32_eq(step + 1, length), |k| {
                        let rows = self.rows(k, step, length.get(), b.get());
                        k.copy(rows.finals[0], rows.y, self.row());
                    });
                });
            }
        }
    }

    /// Loops over the batch elements.
    fn each(&self, k: &mut K, body: impl FnOnce(&mut K, V<I32>)) {
        k.for_("b", 0, self.sizes.batch, 1, body);
    }

    /// The number of steps of a batch element, brought into 0..=steps.
    fn length(&self, k: &mut K, lengths: V<I32>, b: V<I32>) -> V<I32> {
        let given = k.let_("length", load::<I32>(lengths + b * 4, 0));
        let most = self.pointers.steps.get();
        let positive = k.let_("length", select::<I32>(i32_lt_s(given, 0), 0, given));
        k.let_("length", select::<I32>(i32_lt_s(positive, most.clone()), positive, most))
    }

    /// Loops over the panels of a phase, on odd steps backwards: what was used last is still in the cache.
    fn panels(&self, k: &mut K, phase: usize, body: &mut dyn FnMut(&mut K, E<I32>, &Run)) {
        for run in self.phases[phase].runs() {
            if run.count == 1 {
                body(k, 0.into(), &run);
                continue;
            }
            let odd = k.task() & 1;
            let odd = k.let_("odd", odd);
            k.for_("panel", 0, run.count, 1, |k, i| {
                let panel = k.let_("panel", select::<I32>(odd, E::from(run.count as i32 - 1) - i, i));
                body(k, panel.get(), &run);
            });
        }
    }

    /// The batch rows from `b` on at a step of an element with `length` steps.
    fn rows(&self, k: &mut K, step: V<I32>, length: E<I32>, b: E<I32>) -> Rows {
        let Sizes { batch, directions, .. } = self.sizes;
        let time = if self.backwards { k.let_("time", length - 1 - step) } else { step };
        let inputs = k.let_("input_row", self.pointers.inputs + time * (batch as i32 * self.input_row()) + b.clone() * self.input_row());
        let y_step = (directions * batch) as i32 * self.row();
        let along = k.let_("batch_row", b * self.row());
        let y = k.let_("y_row", self.pointers.y + time * y_step + along);
        let finals: Vec<V<I32>> = self.pointers.finals.iter().map(|p| k.let_("final_row", *p + along)).collect();
        let before: Vec<V<I32>> = self.pointers.initial.iter().map(|p| k.let_("before", *p + along)).collect();
        k.if_(step, |k| {
            let other = if self.backwards { E::from(y_step) } else { E::from(-y_step) };
            k.set(before[0], y + other);
            for (before, last) in before.iter().zip(&finals).skip(1) {
                k.set(*before, *last);
            }
        });
        let scratch = self.pointers.scratch.iter().map(|p| p.map(|p| k.let_("scratch_row", p + along))).collect();
        Rows { inputs, y, before, finals, scratch }
    }

    /// The rows from `first` on.
    fn moved(&self, k: &mut K, rows: &Rows, first: E<I32>) -> Rows {
        let mut by = |p: &V<I32>, bytes: i32| k.in_local("tile_ptr", *p + first.clone() * bytes);
        let row = self.row();
        Rows {
            inputs: by(&rows.inputs, self.input_row()),
            y: by(&rows.y, row),
            before: rows.before.iter().map(|p| by(p, row)).collect(),
            finals: rows.finals.iter().map(|p| by(p, row)).collect(),
            scratch: rows.scratch.iter().map(|p| p.map(|p| by(&p, row))).collect(),
        }
    }

    /// One tile: `n_rows` batch rows and one panel of a run.
    fn tile(&self, k: &mut K, phase: usize, rows: &Rows, panel: E<I32>, run: &Run, n_rows: usize) {
        let (panels, data) = (&self.phases[phase], &self.r.phases[phase]);
        let units = k.let_("units", panel.clone() * (4 * run.units) as i32 + (4 * run.first_unit) as i32);
        let weights =
            k.let_("panel_ptr", self.pointers.weights[phase] + panel * (4 * panels.elements(run.units)) as i32 + (4 * run.start) as i32);
        let inputs = k.let_("inputs_ptr", rows.inputs + units);
        let lanes = |v: usize| (run.units - 4 * v).min(4);
        let input = |gate: usize, row: usize, v: usize| {
            let offset = row as i32 * self.input_row() + gate as i32 * self.row() + 16 * v as i32;
            load_partial::<F32x4>(inputs, offset as u32, lanes(v))
        };
        // sums[row][gate][vector]
        let mut sums: Vec<Vec<Vec<V<F32x4>>>> = vec![];
        for row in 0..n_rows {
            let of_row = panels.gates.iter().map(|gate| {
                let joined = data.args.contains(&Arg::Gate(*gate));
                let sum = |v: usize| k.let_("sum", if joined { input(*gate, row, v) } else { f32x4_splat(0.0f32) });
                (0..run.vectors()).map(sum).collect()
            });
            sums.push(of_row.collect());
        }
        let source = match data.source {
            Source::State => rows.before[0],
            Source::Result(i) => rows.scratch[i].expect("results for later phases are stored"),
        };
        self.products(k, &sums, source, weights, panels.row(run.units));
        let finish = Finish { cell: self, phase, data, rows, units };
        for (row, sums) in sums.iter().enumerate() {
            for v in 0..run.vectors() {
                let sums: Vec<(usize, V<F32x4>)> = panels.gates.iter().zip(sums).map(|(gate, of_gate)| (*gate, of_gate[v])).collect();
                let inputs = |gate: usize| input(gate, row, v);
                finish.write(k, &sums, &inputs, (row as i32 * self.row() + 16 * v as i32) as u32, 16 * v as u32, lanes(v));
            }
        }
    }

    /// Adds the products of the source with the weights of a panel, `width` elements per step of depth.
    fn products(&self, k: &mut K, sums: &[Vec<Vec<V<F32x4>>>], source: V<I32>, weights: V<I32>, width: usize) {
        let hidden = self.sizes.hidden;
        let bytes = 4 * width;
        let steps = |k: &mut K, x: V<I32>, w: V<I32>, range: std::ops::Range<usize>| {
            for depth in range {
                let columns: Vec<E<F32x4>> = (0..width / 4)
                    .map(|v| {
                        let vector = load::<F32x4>(w, (depth * bytes + 16 * v) as u32);
                        if sums.len() == 1 { vector } else { k.let_("w", vector).get() }
                    })
                    .collect();
                for (row, sums) in sums.iter().enumerate() {
                    let element = load_splat32::<F32x4>(x, (row as i32 * self.row()) as u32 + 4 * depth as u32);
                    let element = k.let_("x", element);
                    for (sum, column) in sums.iter().flatten().zip(&columns) {
                        let value = k.mul_add(element, column, *sum);
                        k.set(*sum, value);
                    }
                }
            }
        };
        let main = if hidden < 2 * UNROLL { 0 } else { hidden / UNROLL * UNROLL };
        if main > 0 {
            let x = k.let_("x_ptr", source);
            k.for_("w_ptr", weights, weights + (main * bytes) as i32, (UNROLL * bytes) as u32, |k, w| {
                steps(k, x, w, 0..UNROLL);
                k.set(x, x + 4 * UNROLL as i32);
            });
        }
        steps(k, source, weights, main..hidden);
    }
}

/// The results of one vector of units.
struct Finish<'a> {
    cell: &'a Cell<'a>,
    phase: usize,
    data: &'a Phase,
    rows: &'a Rows,
    /// Bytes from unit 0 to the panel's first.
    units: V<I32>,
}

impl Finish<'_> {
    /// `at`: bytes from the panel's first unit of the first row; `column`: the same without rows.
    fn write(&self, k: &mut K, sums: &[(usize, V<F32x4>)], inputs: &dyn Fn(usize) -> E<F32x4>, at: u32, column: u32, lanes: usize) {
        let first = self.cell.r.first_result(self.phase);
        let mut results: Vec<E<F32x4>> = vec![];
        let address = |k: &mut K, p: V<I32>| k.let_("unit_ptr", p + self.units);
        let read = |k: &mut K, p: V<I32>, offset: u32| {
            let p = k.let_("unit_ptr", p + self.units);
            k.let_("operand", load_partial::<F32x4>(p, offset, lanes)).get()
        };
        // Operands are read once, before anything is stored.
        let operands: Vec<Option<E<F32x4>>> = self
            .data
            .args
            .iter()
            .map(|arg| {
                Some(match *arg {
                    Arg::Gate(gate) | Arg::Product(gate) => sums.iter().find(|(g, _)| *g == gate).expect("a product of this phase").1.get(),
                    Arg::Input(gate) => inputs(gate),
                    Arg::State(i) => read(k, self.rows.before[i], at),
                    Arg::Vector(i) => read(k, self.cell.pointers.vectors[i], column),
                    Arg::Result(i) if i < first => read(k, self.rows.scratch[i].expect("results for later phases are stored"), at),
                    Arg::Result(_) => return None,
                })
            })
            .collect();
        let types = vec![DType::F32; operands.len()];
        for body in &self.data.bodies {
            let args: Vec<Lanes> = self
                .data
                .args
                .iter()
                .zip(&operands)
                .map(|(arg, operand)| {
                    let later = || match *arg {
                        Arg::Result(i) => results.get(i - first).cloned(),
                        _ => None,
                    };
                    // A body does not use results that are not there yet.
                    Lanes::F32(operand.clone().or_else(later).unwrap_or_else(|| f32x4_splat(0.0f32)))
                })
                .collect();
            let Lanes::F32(value) = pointwise::emit(k, body, &types, &args) else { unreachable!("all types are f32") };
            results.push(k.in_local("result", value).get());
        }
        for (i, value) in results.into_iter().enumerate() {
            let result = first + i;
            if let Some(scratch) = self.rows.scratch[result] {
                let p = address(k, scratch);
                k.store_partial(p, at, value.clone(), lanes);
            }
            for (state, next) in self.cell.r.next.iter().enumerate() {
                if *next == result {
                    let p = address(k, if state == 0 { self.rows.y } else { self.rows.finals[state] });
                    k.store_partial(p, at, value.clone(), lanes);
                }
            }
        }
    }
}
