// Contender: the operator in plain JavaScript, in its page. It measures itself and compares nothing.

import { OPERATORS } from './operators.mjs';

let run;
let output;

/** `url` is `{operator, parameters, output}` as JSON; `feeds` are the inputs and what the other contenders hold as weights. */
export async function prepare(url, feeds) {
  const { operator, parameters, output: name } = await (await fetch(url)).json();
  const arrays = Object.fromEntries(feeds.map((feed) => [feed.name, feed.data]));
  run = () => ({ [name]: OPERATORS[operator](arrays, parameters) });
  const start = performance.now();
  output = run();
  return { compile_ms: 0, first_call_ms: performance.now() - start };
}

/** Milliseconds per call, `calls` times the mean of `repeat`. */
export function round(calls, repeat = 1) {
  const times = [];
  for (let i = 0; i < calls; i++) {
    const start = performance.now();
    for (let j = 0; j < repeat; j++) output = run();
    times.push((performance.now() - start) / repeat);
  }
  return times;
}

export const results = () => output;
