// The operators of the table as one would write them in plain JavaScript: loops over typed arrays, sums in f64 where that
// is what JavaScript does by itself. They are contenders and, since f64 is more exact than f32, the expected results.

const map = (f) => ({ x }) => {
  const y = new Float32Array(x.length);
  for (let i = 0; i < x.length; i++) y[i] = f(x[i]);
  return y;
};

/** Abramowitz and Stegun 7.1.26 is too rough for a reference: a series below 2.5, a continued fraction above. */
function erf(x) {
  const a = Math.abs(x);
  if (a < 2.5) {
    let [term, sum] = [a, a];
    for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
      term *= -a * a / n;
      sum += term / (2 * n + 1);
    }
    return Math.sign(x) * sum * 2 / Math.sqrt(Math.PI);
  }
  let fraction = 0;
  for (let n = 40; n > 0; n--) fraction = (n / 2) / (a + fraction);
  return Math.sign(x) * (1 - Math.exp(-a * a) / Math.sqrt(Math.PI) / (a + fraction));
}

/** x [m,k] · w [k,n] + bias [n], row by row. */
function matmul({ x, w, bias }, { m, k, n }) {
  const y = new Float32Array(m * n);
  const row = new Float64Array(n);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) row[j] = bias === undefined ? 0 : bias[j];
    for (let l = 0; l < k; l++) {
      const a = x[i * k + l];
      for (let j = 0; j < n; j++) row[j] += a * w[l * n + j];
    }
    y.set(row, i * n);
  }
  return y;
}

/** Rows of `width`: (x − mean) / √(variance + ε), then scale and shift by `at(index)`. */
function normalise(x, width, epsilon, at) {
  const y = new Float32Array(x.length);
  for (let start = 0; start < x.length; start += width) {
    let [mean, variance] = [0, 0];
    for (let i = 0; i < width; i++) mean += x[start + i] / width;
    for (let i = 0; i < width; i++) variance += (x[start + i] - mean) ** 2 / width;
    const factor = 1 / Math.sqrt(variance + epsilon);
    for (let i = 0; i < width; i++) y[start + i] = at((x[start + i] - mean) * factor, start + i);
  }
  return y;
}

const sigmoid = (x) => 1 / (1 + Math.exp(-x));

export const OPERATORS = {
  relu: map((x) => Math.max(0, x)),
  sigmoid: map(sigmoid),
  tanh: map(Math.tanh),
  gelu: map((x) => 0.5 * x * (1 + erf(x * Math.SQRT1_2))),
  matmul,

  softmax({ x }, { width }) {
    const y = new Float32Array(x.length);
    for (let start = 0; start < x.length; start += width) {
      let [max, sum] = [-Infinity, 0];
      for (let i = 0; i < width; i++) max = Math.max(max, x[start + i]);
      for (let i = 0; i < width; i++) sum += y[start + i] = Math.exp(x[start + i] - max);
      for (let i = 0; i < width; i++) y[start + i] /= sum;
    }
    return y;
  },

  transpose({ x }, { m, n }) {
    const y = new Float32Array(x.length);
    for (let i = 0; i < m; i++) for (let j = 0; j < n; j++) y[j * m + i] = x[i * n + j];
    return y;
  },

  /** 3x3, padded by 1: x [inputs, size, size], w [outputs, inputs, 3, 3]. */
  conv({ x, w, bias }, { size, inputs, outputs }) {
    const y = new Float32Array(outputs * size * size);
    for (let o = 0; o < outputs; o++) {
      for (let r = 0; r < size; r++) {
        for (let c = 0; c < size; c++) {
          let sum = bias[o];
          for (let i = 0; i < inputs; i++) {
            for (let dr = 0; dr < 3; dr++) {
              const row = r + dr - 1;
              if (row < 0 || row >= size) continue;
              for (let dc = 0; dc < 3; dc++) {
                const column = c + dc - 1;
                if (column >= 0 && column < size) sum += x[(i * size + row) * size + column] * w[((o * inputs + i) * 3 + dr) * 3 + dc];
              }
            }
          }
          y[(o * size + r) * size + c] = sum;
        }
      }
    }
    return y;
  },

  batch_norm({ x, scale, shift, mean, variance }, { pixels }) {
    return x.map((v, i) => {
      const c = Math.floor(i / pixels);
      return (v - mean[c]) / Math.sqrt(variance[c] + 1e-5) * scale[c] + shift[c];
    });
  },
  layer_norm: ({ x, scale, shift }, { width }) => normalise(x, width, 1e-5, (v, i) => v * scale[i % width] + shift[i % width]),
  group_norm: ({ x, scale, shift }, { width, pixels }) => normalise(x, width, 1e-5, (v, i) => v * scale[Math.floor(i / pixels)] + shift[Math.floor(i / pixels)]),

  /** ONNX's gate order i, o, f, c. x [steps, inputs], w [4·hidden, inputs], r [4·hidden, hidden]. */
  lstm({ x, w, r }, { steps, inputs, hidden }) {
    const y = new Float32Array(steps * hidden);
    const [h, c, gates] = [new Float64Array(hidden), new Float64Array(hidden), new Float64Array(4 * hidden)];
    for (let t = 0; t < steps; t++) {
      for (let g = 0; g < 4 * hidden; g++) {
        let sum = 0;
        for (let i = 0; i < inputs; i++) sum += w[g * inputs + i] * x[t * inputs + i];
        for (let i = 0; i < hidden; i++) sum += r[g * hidden + i] * h[i];
        gates[g] = sum;
      }
      for (let u = 0; u < hidden; u++) {
        c[u] = sigmoid(gates[2 * hidden + u]) * c[u] + sigmoid(gates[u]) * Math.tanh(gates[3 * hidden + u]);
        h[u] = sigmoid(gates[hidden + u]) * Math.tanh(c[u]);
        y[t * hidden + u] = h[u];
      }
    }
    return y;
  },

  /** Real to complex by radix 2. */
  dft({ x }, { n }) {
    const [re, im] = [new Float64Array(n), new Float64Array(n)];
    const bits = Math.log2(n);
    for (let i = 0; i < n; i++) {
      let reversed = 0;
      for (let b = 0; b < bits; b++) reversed |= ((i >> b) & 1) << (bits - 1 - b);
      re[reversed] = x[i];
    }
    for (let size = 2; size <= n; size *= 2) {
      for (let k = 0; k < size / 2; k++) {
        const [wr, wi] = [Math.cos(-2 * Math.PI * k / size), Math.sin(-2 * Math.PI * k / size)];
        for (let i = k; i < n; i += size) {
          const j = i + size / 2;
          const [tr, ti] = [re[j] * wr - im[j] * wi, re[j] * wi + im[j] * wr];
          [re[j], im[j]] = [re[i] - tr, im[i] - ti];
          [re[i], im[i]] = [re[i] + tr, im[i] + ti];
        }
      }
    }
    const y = new Float32Array(2 * n);
    for (let i = 0; i < n; i++) [y[2 * i], y[2 * i + 1]] = [re[i], im[i]];
    return y;
  },
};
