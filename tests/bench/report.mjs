// Tables of the race and of a profile, as text for people. The JSON is built in race.mjs.

const fixed = (digits) => (value) => (value === undefined ? '-' : value.toFixed(digits));
const percent = (value) => (value === undefined ? '-' : `${(100 * value).toFixed(1)}%`);
const mib = (value) => (value === undefined ? '-' : (value / 2 ** 20).toFixed(2));
const scientific = (value) => (value === undefined ? '-' : value === 0 ? '0' : value.toExponential(1));

/** Columns of equal width; the first `left` are left-aligned. */
function table(rows, left) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => String(row[column]).length)));
  const line = (row) => row.map((cell, i) => (i < left ? String(cell).padEnd(widths[i]) : String(cell).padStart(widths[i]))).join('  ').trimEnd();
  return rows.map(line).join('\n');
}

/** The race: a line per model and contender. */
export function raceTable(models) {
  const rows = [['model', 'contender', 'MiB', 'compile ms', 'first ms', 'median ms', 'p90 ms', 'min ms', 'GFLOP/s', 'of roof', 'max rel err', 'ratio']];
  for (const model of models) {
    for (const name of ['ours', 'f32', 'onnxruntime']) {
      const one = model[name];
      if (!one) continue;
      const found = { ours: model.ratio, f32: model.f32_ratio }[name];
      const ratio = found ? `${fixed(2)(found.median)} (${fixed(2)(found.min)}–${fixed(2)(found.max)})` : '';
      rows.push([
        model.name, name, mib(one.bytes), fixed(1)(one.compile_ms), fixed(2)(one.first_call_ms), fixed(3)(one.median_ms), fixed(3)(one.p90_ms),
        fixed(3)(one.min_ms), fixed(1)(one.gflops), percent(one.roof_share), scientific(model.max_rel_err[`${name}_golden`]), ratio,
      ]);
    }
  }
  return table(rows, 2);
}

/** Single operators: one line each, in microseconds. */
export function operatorTable(models) {
  const time = (one) => (one ? (1e3 * one.median_ms).toFixed(1) : '-');
  const times = (ratio) => (ratio ? fixed(2)(ratio.median) : '-');
  const rows = [['operator', 'ours µs', 'onnxruntime µs', 'JavaScript µs', 'GFLOP/s', 'of roof', 'max rel err', '× onnxruntime', '× JavaScript']];
  for (const { name, ours, onnxruntime, plain, max_rel_err, ratio, plain_ratio } of models) {
    const speed = ours?.gflops > 0 ? [fixed(1)(ours.gflops), percent(ours.roof_share)] : ['', ''];
    rows.push([name, time(ours), time(onnxruntime), time(plain), ...speed, scientific(max_rel_err.ours_golden), times(ratio), times(plain_ratio)]);
  }
  return table(rows, 1);
}

/** A profile by classes of steps. */
export function accountTable({ name, account }) {
  const rows = [['class', 'ms', 'share', 'GFLOP/s', 'of roof', 'ms beyond the roof']];
  for (const one of account) rows.push([one.class, fixed(3)(one.ms), percent(one.share), fixed(1)(one.gflops), percent(one.roof_share), fixed(3)(one.lost_ms)]);
  return `${name} by class\n${table(rows, 1)}`;
}

/** Where the time goes: every step, slowest first, then the sums by kernel. */
export function profileTable({ name, profile, roof_gflops }) {
  const roof = roof_gflops.median;
  const steps = [...profile.steps].sort((a, b) => b.ms - a.ms);
  let sum = 0;
  const rows = [['ms', 'share', 'sum', 'GFLOP/s', 'of roof', 'MMAC', 'weights MiB', 'tasks', 'step', 'kernel', 'layers']];
  for (const { ms, share, gflops, macs, weightBytes, tasks, step, kernel, layers } of steps) {
    sum += share;
    const speed = macs > 0 ? [fixed(1)(gflops), percent(gflops / roof)] : ['', ''];
    rows.push([fixed(4)(ms), percent(share), percent(sum), ...speed, fixed(2)(macs / 1e6), mib(weightBytes), tasks, step, kernel, layers.join(' + ')]);
  }
  return [`${name}: ${profile.steps.length} steps, ${fixed(3)(profile.ms)} ms over ${profile.calls} calls`, right(rows), '', kernelTable(profile, roof)].join('\n');
}

function kernelTable(profile, roof) {
  const kernels = new Map();
  for (const { kernel, ms, share, macs } of profile.steps) {
    const sum = kernels.get(kernel) ?? { ms: 0, share: 0, macs: 0, steps: 0 };
    kernels.set(kernel, { ms: sum.ms + ms, share: sum.share + share, macs: sum.macs + macs, steps: sum.steps + 1 });
  }
  const rows = [['ms', 'share', 'GFLOP/s', 'of roof', 'steps', 'kernel']];
  for (const [kernel, { ms, share, macs, steps }] of [...kernels].sort(([, a], [, b]) => b.ms - a.ms)) {
    const gflops = ms > 0 ? (2e-6 * macs) / ms : 0;
    rows.push([fixed(4)(ms), percent(share), ...(macs > 0 ? [fixed(1)(gflops), percent(gflops / roof)] : ['', '']), steps, kernel]);
  }
  return right(rows);
}

/** Numbers right-aligned, the names at the end left-aligned. */
function right(rows) {
  const names = rows[0].length - rows[0].indexOf('kernel');
  const cut = rows[0].length - names;
  const tails = table(rows.map((row) => row.slice(cut)), names).split('\n');
  return table(rows.map((row) => row.slice(0, cut)), 0).split('\n').map((line, i) => `${line}  ${tails[i]}`).join('\n');
}
