// Where a model's time goes: the steps of a profile by class, with their share of the time and of the roof.

/** Classes by the first word of a kernel's name. */
const CLASSES = {
  contract: 'products, convolutions',
  winograd: 'filter transforms',
  widened: 'filter transforms',
  depthwise: 'depthwise, pooling',
  maxpool: 'depthwise, pooling',
  minpool: 'depthwise, pooling',
  sumpool: 'depthwise, pooling',
  productpool: 'depthwise, pooling',
  recurrent: 'recurrence',
  reduce: 'softmax, norms, sums',
  map: 'element-wise',
  copy: 'moves',
  fill: 'moves',
  halo: 'moves',
  gather: 'moves',
  routine: 'routines',
};

export const classOf = (kernel) => CLASSES[/^[a-z0-9]+/.exec(kernel)?.[0]] ?? 'other';

/**
 * Rows `{class, ms, share, gflops?, roof_share?}`, slowest first; `lost_ms` is what the class needs beyond its
 * multiply-accumulates at the roof.
 */
export function account(profile, roof) {
  const classes = new Map();
  for (const { kernel, ms, macs } of profile.steps) {
    const name = classOf(kernel);
    const sum = classes.get(name) ?? { class: name, ms: 0, macs: 0 };
    classes.set(name, { class: name, ms: sum.ms + ms, macs: sum.macs + macs });
  }
  const total = [...classes.values()].reduce((sum, { ms }) => sum + ms, 0);
  const rows = [...classes.values()].map(({ class: name, ms, macs }) => {
    const gflops = ms > 0 ? (2e-6 * macs) / ms : 0;
    const speed = macs > 0 ? { gflops, roof_share: gflops / roof } : {};
    return { class: name, ms, share: ms / total, ...speed, lost_ms: ms - (2e-6 * macs) / roof };
  });
  return rows.sort((a, b) => b.ms - a.ms);
}
