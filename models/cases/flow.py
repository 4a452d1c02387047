"""Writes the cases of control flow in `flow/`: branches and loops that data decides, graphs within graphs, states.

usage: python models/cases/flow.py
"""

import numpy as np
import onnx.parser

from build import FOLDER, common, seed, write_model

HEADER = '<ir_version: 8, opset_import: ["" : 17]>\n'


def floats(*shape):
    return lambda rng: rng.standard_normal(shape).astype(np.float32)


def exactly(value, dtype):
    return lambda rng: np.array(value, dtype)


def scores(n):
    return lambda rng: rng.random(n).astype(np.float32)


def boxes(rng):
    """Corners of overlapping boxes."""
    low = rng.random((14, 2)) * 3
    return np.concatenate([low, low + 1 + rng.random((14, 2))], 1).astype(np.float32)


IF = """
branch (bool c, float[2,3] x) => (float[2,3] y, float[2,3] z)
<float[3] w = {0.5, -1.0, 2.0}> {
  s = Tanh(x)
  y, z = If (c) <
    then_branch = t () => (float[2,3] a, float[2,3] s2) { h = Mul(s, w)  a = Relu(h)  s2 = Identity(s) },
    else_branch = e () => (float[2,3] b, float[2,3] x2) { b = Sub(x, w)  x2 = Add(x, s) }
  >
}
"""

LOOP = """
counted (int64 n, float[4] x, float limit) => (float[4] y, int64 last, float[4] x2)
<int64 zero = {0}> {
  x2 = Neg(x)
  y, last = Loop (n, , x, zero) <
    body = b (int64 i, bool c, float[4] v, int64 seen) => (bool c2, float[4] v2, int64 i2) {
      d = Add(v, v)  v2 = Sub(d, x2)  m = ReduceMax <keepdims = 0> (v2)  c2 = Less(m, limit)  i2 = Identity(i)
    }
  >
}
"""

WHILE = """
until (bool go, float[4] x, float limit) => (float[4] y)
{
  y = Loop (, go, x) <
    body = b (int64 i, bool c, float[4] v) => (bool c2, float[4] v2) {
      v2 = Add(v, v)  a = Abs(v2)  m = ReduceSum <keepdims = 0> (a)  c2 = Less(m, limit)
    }
  >
}
"""

STACKED = """
stacked (int64 n, float[4] x) => (float[4] y, float[steps,4] all, int64[steps] numbers)
{
  y, all, numbers = Loop (n, , x) <
    body = b (int64 i, bool c, float[4] v) => (bool c2, float[4] v2, float[4] keep, int64 number) {
      c2 = Identity(c)  s = Sin(v)  v2 = Add(v, s)  keep = Mul(v, s)  number = Mul(i, i)
    }
  >
}
"""

# Sizes that data decides. As detectors select: a threshold, the best few, gathered.
ROWS = """
rows (float[9,4] x, float[9] scores, float least) => (float[n,4] y, float[k] top, int64[2,m] places, float[j,4] both, float[4] most)
<int64[1] zero = {0}, int64[1] five = {5}, int64[1] minus = {-1}, float[4,4] w = {1,2,3,4, 0.5,1,-1,0, 2,0,0,1, -1,1,0.25,0}> {
  above = Greater(scores, least)
  found = NonZero(above)
  at = Transpose <perm = [1, 0]> (found)
  kept = GatherND(scores, at)
  found_again = NonZero(above)
  at_again = Transpose <perm = [1, 0]> (found_again)
  chosen = GatherND(x, at_again)
  shape = Shape(kept)
  sizes = Concat <axis = 0> (five, shape)
  smallest = ReduceMin <keepdims = 0> (sizes)
  k = Reshape(smallest, minus)
  top, order = TopK(kept, k)
  best = Gather <axis = 0> (chosen, order)
  product = MatMul(best, w)
  y = Relu(product)
  both = Concat <axis = 0> (best, chosen)
  positive = Greater(x, least)
  places = NonZero(positive)
  most = ReduceSum <keepdims = 0> (both, zero)
}
"""

# Non-maximum suppression by class as torchvision exports it: not of no boxes.
BOXES = """
boxes (float[14,4] boxes, float[14] scores, float least) => (float[n,4] y, float[n] best, float[m,2,2] filled)
<int64 nothing = {0}, int64[1] zero = {0}, int64[1] one = {1}, int64[1] two = {2}, int64[1] all = {9223372036854775807},
 int64[1] last = {4}, float overlap = {0.5}, int64[3] to = {-1, 1, 1}, int64[2] squares = {2, 2}> {
  above = Greater(scores, least)
  found = NonZero(above)
  at = Squeeze(found, zero)
  b = Gather <axis = 0> (boxes, at)
  s = Gather <axis = 0> (scores, at)
  shape = Shape(b)
  elements = ReduceProd <keepdims = 0> (shape)
  empty = Equal(elements, nothing)
  keep = If (empty) <
    then_branch = t () => (int64[0] none) { none = ConstantOfShape <value = int64[1] {0}> (zero) },
    else_branch = e () => (int64[kept] chosen) {
      most = ReduceMax <keepdims = 0> (b)
      moved = Add(b, most)
      b3 = Unsqueeze(moved, zero)
      s2 = Unsqueeze(s, zero)
      s3 = Unsqueeze(s2, zero)
      rows = NonMaxSuppression(b3, s3, all, overlap)
      column = Gather <axis = 1> (rows, two)
      chosen = Squeeze(column, one)
    }
  >
  few = Slice(keep, zero, last, zero, one)
  y = Gather <axis = 0> (b, few)
  best = Gather <axis = 0> (s, few)
  area = ReduceSum <keepdims = 0> (b, one)
  large = Greater(area, overlap)
  which = NonZero(large)
  index = Reshape(which, to)
  count = Shape(which)
  number = Gather <axis = 0> (count, one)
  full = Concat <axis = 0> (number, squares)
  wide = Expand(index, full)
  whole = Shape(s)
  places = Concat <axis = 0> (whole, squares)
  empty_places = ConstantOfShape (places)
  ones = ConstantOfShape <value = float[1] {1}> (full)
  filled = ScatterElements <axis = 0> (empty_places, wide, ones)
}
"""

BEST = """
best (float[3,7] x, int64[1] k, bool[3] keep) => (float[3,n] top, float[m,7] rows, float[m,n] both)
{
  top, order = TopK(x, k)
  rows = Compress <axis = 0> (x, keep)
  both = Compress <axis = 0> (top, keep)
}
"""

# A state that grows, and an input of its size.
GROWING = """
growing (float[1,n,2] new, float[1,past,2] history, float[1,past,1] weights) => (float[1,2] y, float[1,after,2] present)
<int64[1] one = {1}> {
  weighted = Mul(history, weights)
  before = ReduceSum <keepdims = 0> (weighted, one)
  now = ReduceSum <keepdims = 0> (new, one)
  y = Add(before, now)
  present = Concat <axis = 1> (history, new)
}
"""

NESTED = """
nested (int64 n, int64 m, float[3] x, float[3] w) => (float[3] y)
{
  late = Exp(w)
  y = Loop (n, , x) <
    body = outer (int64 i, bool c, float[3] v) => (bool c2, float[3] v3) {
      c2 = Identity(c)
      v2 = Loop (m, , v) <
        body = inner (int64 j, bool d, float[3] u) => (bool d2, float[3] u3) {
          d2 = Identity(d)
          sum = Add(i, j)  two = Constant <value_int = 2> ()  rest = Mod(sum, two)  one = Constant <value_int = 1> ()
          odd = Equal(rest, one)
          u3 = If (odd) <
            then_branch = t () => (float[3] a) { a = Sub(u, w) },
            else_branch = e () => (float[3] b) { p = Mul(v, x)  q = Add(p, late)  b = Tanh(q) }
          >
        }
      >
      v3 = Add(v2, late)
    }
  >
}
"""

# More steps than are unrolled.
SCAN = """
scanned (float[2] h, float[300,2] x, float[2,300] z) => (float[2] last, float[300,2] forth, float[2,300] back)
<float[2] w = {0.5, 0.25}> {
  last, forth, back = Scan (h, x, z) <
    num_scan_inputs = 2, scan_input_directions = [0, 1], scan_input_axes = [0, 1], scan_output_directions = [0, 1],
    scan_output_axes = [0, 1],
    body = step (float[2] s, float[2] a, float[2] b) => (float[2] s2, float[2] p, float[2] q) {
      g = Mul(s, w)  k = Add(g, a)  s2 = Tanh(k)  p = Sub(s2, b)  q = Add(s2, b)
    }
  >
}
"""

STATE = """
stateful (float[1,2,4] x, float[1,1,5] h, float[1,1,5] c, float[1,3] tail) => (float[2,1,1,5] y, float[1,1,5] h2, float[1,1,5] c2, float[1,3] tail2)
{
  xt = Transpose <perm = [1, 0, 2]> (x)
  y, h2, c2 = LSTM <hidden_size = 5> (xt, w, r, b, , h, c)
  flat = Reshape(x, shape)
  long = Concat <axis = 1> (tail, flat)
  tail2 = Slice(long, starts, ends, axes)
}
"""

CASES = {
    "branch_then": (IF, {"c": exactly(True, bool), "x": floats(2, 3)}),
    "branch_else": (IF, {"c": exactly(False, bool), "x": floats(2, 3)}),
    "loop_counted": (LOOP, {"n": exactly(3, np.int64), "x": floats(4), "limit": exactly(1e9, np.float32)}),
    "loop_left_early": (LOOP, {"n": exactly(50, np.int64), "x": floats(4), "limit": exactly(40, np.float32)}),
    "loop_never": (LOOP, {"n": exactly(0, np.int64), "x": floats(4), "limit": exactly(1e9, np.float32)}),
    "loop_while": (WHILE, {"go": exactly(True, bool), "x": floats(4), "limit": exactly(500, np.float32)}),
    "found_boxes": (BOXES, {"boxes": boxes, "scores": scores(14), "least": exactly(0.3, np.float32)}),
    "found_no_boxes": (BOXES, {"boxes": boxes, "scores": scores(14), "least": exactly(2, np.float32)}),
    "found_rows": (ROWS, {"x": floats(9, 4), "scores": scores(9), "least": exactly(0.4, np.float32)}),
    "found_no_rows": (ROWS, {"x": floats(9, 4), "scores": scores(9), "least": exactly(2, np.float32)}),
    "found_best": (BEST, {"x": floats(3, 7), "k": exactly([4], np.int64), "keep": exactly([1, 0, 1], bool)}),
    "growing": (GROWING, {"new": floats(1, 2, 2), "history": floats(1, 3, 2), "weights": floats(1, 3, 1)}),
    "loop_nested": (NESTED, {"n": exactly(3, np.int64), "m": exactly(4, np.int64), "x": floats(3), "w": floats(3)}),
    "loop_stacked": (STACKED.replace("steps", "6"), {"n": exactly(6, np.int64), "x": floats(4)}),
    "scan_long": (SCAN, {"h": floats(2), "x": floats(300, 2), "z": floats(2, 300)}),
}


def main():
    folder = FOLDER / "flow"
    folder.mkdir(exist_ok=True)
    for name, (text, inputs) in CASES.items():
        rng = seed(name)
        feeds = {input_name: np.asarray(make(rng)) for input_name, make in inputs.items()}
        write_model(folder, name, onnx.parser.parse_model(HEADER + text.strip()), feeds)
    rng = seed("state")
    weights = {
        "w": rng.uniform(-0.5, 0.5, (1, 20, 4)),
        "r": rng.uniform(-0.5, 0.5, (1, 20, 5)),
        "b": rng.uniform(-0.5, 0.5, (1, 40)),
    }
    model = onnx.parser.parse_model(HEADER + STATE.strip())
    numbers = {"shape": [1, 8], "starts": [-3], "ends": [2**31], "axes": [1]}
    arrays = {k: v.astype(np.float32) for k, v in weights.items()} | {k: np.array(v, np.int64) for k, v in numbers.items()}
    model.graph.initializer.extend(onnx.numpy_helper.from_array(a, k) for k, a in arrays.items())
    feeds = {"x": floats(1, 2, 4), "h": floats(1, 1, 5), "c": floats(1, 1, 5), "tail": floats(1, 3)}
    write_model(folder, "state", model, {k: make(rng) for k, make in feeds.items()})
    common.progress(f"{len(CASES) + 1} cases of control flow and state")


if __name__ == "__main__":
    main()
