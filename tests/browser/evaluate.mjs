// Runs a model over golden inputs and compares: the same code in Node and in a page. It reads no files.

const ARRAYS = {
  f32: Float32Array, f64: Float64Array, f16: Uint16Array, bf16: Uint16Array, i8: Int8Array, u8: Uint8Array, i16: Int16Array,
  u16: Uint16Array, i32: Int32Array, u32: Uint32Array, i64: BigInt64Array, u64: BigUint64Array, bool: Uint8Array,
};

/**
 * `arrays` are `{key, dtype, shape, bytes}`. Keys `input:NAME` and `output:NAME` name the model's tensors; `images` and
 * `logits` stand for its first input and output, `labels` are checked against the largest output. An input whose first
 * dimension is n times the model's runs in n calls; outputs are concatenated.
 *
 * `options` are those of `loadModel`, and `share`: to run a second instance beside the first one's weights.
 *
 * Returns `{variant, threads, outputs: {NAME: sha256 of the raw bytes}, calls, predictions?, agree?, correct?, max_abs_err, max_rel_err}`.
 */
export async function evaluate({ WASMTorch, Tensor }, module, arrays, options = {}) {
  const runtime = await WASMTorch.init({ threads: options.threads ?? 2 });
  const first = await runtime.loadModel(module, options);
  const model = options.share ? await first.share() : first;
  // All threads take part from the first call on.
  if (first.variant.includes('threads')) await first.warmup(1);
  const find = (...keys) => arrays.find(({ key }) => keys.includes(key));
  const inputs = model.inputs.map((info, i) => {
    const array = find(`input:${info.name}`, ...(i === 0 ? ['images'] : []));
    if (array === undefined) throw new Error(`the golden file has no input '${info.name}'`);
    return { info, array, calls: array.bytes.length / info.bytes };
  });
  const calls = inputs[0]?.calls ?? 1;
  if (!Number.isInteger(calls) || inputs.some((input) => input.calls !== calls)) throw new Error('the golden inputs are not the same whole number of calls');

  const found = new Map(model.outputs.map(({ name }) => [name, []]));
  for (let call = 0; call < calls; call++) {
    const feeds = inputs.map(({ info, array }) => {
      const bytes = array.bytes.slice(call * info.bytes, (call + 1) * info.bytes);
      return [info.name, new Tensor(new ARRAYS[info.dtype](bytes.buffer), info.shape, array.dtype)];
    });
    const outputs = await model.forward(Object.fromEntries(feeds));
    for (const { name } of model.outputs) {
      const { data } = outputs[name];
      // As many elements as the data decides.
      found.get(name).push(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    }
  }

  const result = { variant: model.variant, threads: model.threads, outputs: {}, calls, max_abs_err: 0, max_rel_err: 0 };
  for (const [i, info] of model.outputs.entries()) {
    const bytes = concatenated(found.get(info.name));
    result.outputs[info.name] = await sha256(bytes);
    const golden = find(`output:${info.name}`, ...(i === 0 ? ['logits'] : []));
    if (golden === undefined) throw new Error(`the golden file has no output '${info.name}'`);
    if (golden.dtype !== info.dtype) throw new Error(`output '${info.name}': the golden file has ${golden.dtype}, the model ${info.dtype}`);
    const [actual, expected] = [bytes, golden.bytes].map((raw) => numbers(raw, info.dtype));
    Object.assign(result, worst(result, errors(actual, expected)));
    const labels = i === 0 && find('labels');
    if (labels) Object.assign(result, classify(actual, expected, numbers(labels.bytes, labels.dtype)));
  }
  await runtime.shutdown();
  await model.dispose();
  return result;
}

function concatenated(parts) {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** Largest absolute difference, and the same relative to the largest expected magnitude. NaN equals NaN only. */
export function errors(actual, expected) {
  if (actual.length !== expected.length) throw new Error(`expected ${expected.length} output elements, found ${actual.length}`);
  let largest = 0;
  let max_abs_err = 0;
  for (let i = 0; i < expected.length; i++) {
    const [a, b] = [Number(actual[i]), Number(expected[i])];
    if (Number.isFinite(b)) largest = Math.max(largest, Math.abs(b));
    const error = Object.is(a, b) || a === b ? 0 : Math.abs(a - b);
    if (!(error <= max_abs_err)) max_abs_err = Number.isNaN(error) ? Infinity : error;
  }
  return { max_abs_err, max_rel_err: max_abs_err === 0 ? 0 : max_abs_err / largest };
}

const worst = (a, b) => ({ max_abs_err: Math.max(a.max_abs_err, b.max_abs_err), max_rel_err: Math.max(a.max_rel_err, b.max_rel_err) });

/** Predicted classes, how many equal the golden ones, and how many are right. */
function classify(actual, expected, labels) {
  const [predictions, golden] = [actual, expected].map((values) => argmaxRows(values, labels.length));
  return {
    predictions,
    agree: predictions.filter((prediction, i) => prediction === golden[i]).length,
    correct: predictions.filter((prediction, i) => prediction === Number(labels[i])).length,
  };
}

function argmaxRows(values, rows) {
  const width = values.length / rows;
  return Array.from({ length: rows }, (_, row) => {
    let best = 0;
    for (let i = 1; i < width; i++) if (values[row * width + i] > values[row * width + best]) best = i;
    return best;
  });
}

/** Elements of raw bytes; f16 as numbers. */
export function numbers(bytes, dtype) {
  const array = new ARRAYS[dtype](bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
  return dtype === 'f16' ? Float64Array.from(array, half) : dtype === 'bf16' ? new Float32Array(Uint32Array.from(array, (bits) => bits << 16).buffer) : array;
}

function half(bits) {
  const [sign, exponent, fraction] = [bits >> 15 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024));
}

async function sha256(bytes) {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return [...digest].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
