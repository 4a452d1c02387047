// A report of the race as one HTML page: charts as inline SVG, tables, no script and nothing to load.

const escape = (text) => String(text).replace(/[&<>"]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c]);
const number = (value, digits) => (value === undefined ? '–' : value.toFixed(digits));
const COLOURS = ['#3b6ea5', '#d9822b', '#5b9a5b', '#b04a5a', '#7a6fb0', '#8a8a8a', '#c2b04a', '#4aa3a3'];

const STYLE = `body{font:14px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:64rem;padding:0 1rem;color:#222;background:#fff}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}td,th{padding:.15rem .7rem;text-align:right;border-bottom:1px solid #ddd}
td:first-child,th:first-child{text-align:left}svg{width:100%;height:auto}svg text{font:12px system-ui,sans-serif;fill:currentColor}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#1b1b1b}td,th{border-color:#444}}`;

const [LEFT, WIDTH, ROW] = [210, 900, 22];

/** Horizontal bars. `rows` are `{name, value, low?, high?, label}`; a line at `mark`; logarithmic on request. */
function bars(rows, { mark, log = false } = {}) {
  const known = rows.filter(({ value }) => value > 0);
  if (known.length === 0) return '';
  const all = [...known.flatMap(({ value, low = value, high = value }) => [value, low, high]), ...(mark ? [mark] : [])];
  const [least, most] = [log ? Math.min(...all) / 1.2 : 0, Math.max(...all) * 1.05];
  const scale = (v) => LEFT + (WIDTH - LEFT - 90) * (log ? Math.log(v / least) / Math.log(most / least) : v / most);
  const body = known.map(({ name, value, low, high, label }, i) => {
    const y = i * ROW;
    const from = log && mark ? scale(mark) : LEFT;
    const [a, b] = [Math.min(from, scale(value)), Math.max(from, scale(value))];
    const colour = mark && value < mark ? COLOURS[3] : COLOURS[0];
    const whisker = low === undefined ? '' : `<line x1="${scale(low)}" x2="${scale(high)}" y1="${y + 10}" y2="${y + 10}" stroke="#888" stroke-width="2"/>`;
    return `<text x="${LEFT - 8}" y="${y + 14}" text-anchor="end">${escape(name)}</text><rect x="${a}" y="${y + 3}" width="${b - a}" height="14" fill="${colour}"/>${whisker}<text x="${Math.max(b, scale(high ?? value)) + 6}" y="${y + 14}">${escape(label)}</text>`;
  });
  const line = mark ? `<line x1="${scale(mark)}" x2="${scale(mark)}" y1="0" y2="${known.length * ROW}" stroke="currentColor" stroke-dasharray="3 3"/>` : '';
  return `<svg viewBox="0 0 ${WIDTH} ${known.length * ROW + 4}" role="img">${body.join('')}${line}</svg>`;
}

/** One bar per model, cut by class of steps. */
function stacked(models) {
  const classes = [...new Set(models.flatMap(({ account }) => account.map((row) => row.class)))];
  const colour = (name) => COLOURS[classes.indexOf(name) % COLOURS.length];
  const width = WIDTH - LEFT - 20;
  const body = models.map(({ name, account }, i) => {
    let x = LEFT;
    const parts = account.map((row) => {
      const part = `<rect x="${x}" y="${i * ROW + 3}" width="${row.share * width}" height="14" fill="${colour(row.class)}"><title>${escape(row.class)}: ${number(row.ms, 3)} ms, ${number(100 * row.share, 1)} %</title></rect>`;
      x += row.share * width;
      return part;
    });
    return `<text x="${LEFT - 8}" y="${i * ROW + 14}" text-anchor="end">${escape(name)}</text>${parts.join('')}`;
  });
  const legend = classes.map((name) => `<span style="color:${colour(name)}">■</span> ${escape(name)}`).join(' &nbsp; ');
  return `<svg viewBox="0 0 ${WIDTH} ${models.length * ROW + 4}" role="img">${body.join('')}</svg><p>${legend}</p>`;
}

function table(head, rows) {
  const line = (cells, tag) => `<tr>${cells.map((cell) => `<${tag}>${escape(cell)}</${tag}>`).join('')}</tr>`;
  return `<table>${line(head, 'th')}${rows.map((row) => line(row, 'td')).join('')}</table>`;
}

/** The page of one JSON report. */
export function htmlReport({ machine, rounds, calls, models }) {
  const ratios = (key) => models.filter((m) => m[key]).map((m) => ({ name: m.name, value: m[key].median, low: m[key].min, high: m[key].max, label: `${number(m[key].median, 2)}×` }));
  const wide = (rows) => rows.length > 0 && Math.max(...rows.map((r) => r.value)) > 8;
  const roof = models.filter((m) => m.ours?.roof_share > 0.005).map((m) => ({ name: m.name, value: 100 * m.ours.roof_share, label: `${number(100 * m.ours.roof_share, 0)} %` }));
  const profiled = models.filter((m) => m.account);
  const sections = [
    ['Times faster than onnxruntime-web', bars(ratios('ratio'), { mark: 1, log: wide(ratios('ratio')) })],
    ['Times faster than plain JavaScript', bars(ratios('plain_ratio'), { mark: 1, log: true })],
    ['Share of the roof: multiply-accumulates against what registers allow', bars(roof, { mark: 100 })],
    ['Where the time goes', profiled.length > 0 ? stacked(profiled) : ''],
    ['Classes of steps', profiled.length > 0 ? table(['model, class', 'ms', 'share', 'GFLOP/s', 'of roof', 'ms beyond the roof'], profiled.flatMap(({ name, account }) => account.map((row) => [
      `${name}: ${row.class}`, number(row.ms, 3), `${number(100 * row.share, 1)} %`, number(row.gflops, 1), row.roof_share === undefined ? '–' : `${number(100 * row.roof_share, 0)} %`, number(row.lost_ms, 3),
    ]))) : ''],
    ['All numbers', table(['', 'ours ms', 'p90', 'onnxruntime-web ms', 'p90', 'plain JavaScript ms', 'first call ms', 'largest error'], models.map((m) => [
      m.name, number(m.ours?.median_ms, 3), number(m.ours?.p90_ms, 3), number(m.onnxruntime?.median_ms, 3), number(m.onnxruntime?.p90_ms, 3), number(m.plain?.median_ms, 3), number(m.ours?.first_call_ms, 1), m.max_rel_err.ours_golden?.toExponential(1) ?? '–',
    ]))],
  ];
  const { cpu, engine, variant, onnxruntime_web: version } = machine;
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>wasm-torch benchmark</title><style>${STYLE}</style>
<h1>wasm-torch benchmark</h1><p>${escape(cpu)}, ${escape(engine)}, onnxruntime-web ${escape(version)}, one thread, variant ${escape(variant)}, ${rounds} interleaved rounds of ${calls} calls. Ratios are medians of the rounds; whiskers reach from the smallest to the largest.</p>
${sections.filter(([, body]) => body !== '').map(([title, body]) => `<h2>${escape(title)}</h2>${body}`).join('\n')}
</html>
`;
}
