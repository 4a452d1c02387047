"""What `make.py` builds with: graphs from short descriptions, goldens from onnxruntime. Not a command.

Every golden is compared with ONNX's own reference evaluator where that one runs; a difference is printed.
"""

import pathlib
import sys
import zlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FOLDER = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent / "tools"))
import common  # noqa: E402


class Input:
    """One input of a case: `make(rng)` gives the array; a constant one becomes an initialiser."""

    def __init__(self, make, constant=False):
        self.make = make
        self.constant = constant


def uniform(*shape, low=-2.0, high=2.0):
    """Random float32 values."""
    return Input(lambda rng: rng.uniform(low, high, shape).astype(np.float32))


def integers(*shape, low=-5, high=6, dtype=np.int64):
    """Random integers in low..high-1."""
    return Input(lambda rng: rng.integers(low, high, shape).astype(dtype))


def values(data, dtype=np.float32):
    """Exactly these values."""
    return Input(lambda rng: np.array(data, dtype))


def booleans(*shape):
    return Input(lambda rng: rng.integers(0, 2, shape).astype(bool))


def constant(*what, dtype=np.float32):
    """An initialiser: `constant(3, 4)` is random of that shape, `constant([1, 2])` int64 values, `constant(input)` that input."""
    if len(what) == 1 and isinstance(what[0], Input):
        return Input(what[0].make, constant=True)
    if len(what) == 1 and isinstance(what[0], list):
        return Input(values(what[0], np.int64 if dtype is np.float32 else dtype).make, constant=True)
    return Input(uniform(*what, low=-1.0, high=1.0).make, constant=True)


def ir_version(opset):
    """The IR version of the ONNX release that introduced `opset` (8 at least: initialisers need not be inputs)."""
    return 8 if opset <= 18 else 9 if opset <= 20 else 10


def seed(name):
    """A generator that depends on the case's name alone, so that cases do not move each other."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def tensor_type(name, array_or_type, shape=None):
    """A ValueInfo from an array, or from an element type and a shape (strings are symbols)."""
    if isinstance(array_or_type, np.ndarray):
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array_or_type.dtype), array_or_type.shape)
    return helper.make_tensor_value_info(name, array_or_type, shape)


def initializer(name, array, dtype=np.float32):
    return numpy_helper.from_array(np.array(array, dtype, order="C"), name)


def write_op(folder, name, op_type, inputs, attributes, opset, output_names):
    """Writes `name.onnx`, a graph of one node, and `name.npz`."""
    rng = seed(name)
    feeds, initializers = {}, []
    for input_name, source in inputs.items():
        if source is None:
            continue
        array = np.asarray(source.make(rng))
        if source.constant:
            initializers.append(numpy_helper.from_array(array, input_name))
        else:
            feeds[input_name] = array
    names = ["" if source is None else input_name for input_name, source in inputs.items()]
    while names and not names[-1]:
        names.pop()
    node = helper.make_node(op_type, names, output_names, name=f"/{name}/{op_type}", **attributes)

    def model(outputs):
        graph = helper.make_graph([node], name, [tensor_type(n, a) for n, a in feeds.items()], outputs, initializers)
        return make_model(graph, opset)

    path = folder / f"{name}.onnx"
    # First without output types: onnxruntime infers them, and its result tells them.
    onnx.save(model([onnx.ValueInfoProto(name=n) for n in output_names]), path)
    found = common.run_onnxruntime(path, feeds)
    onnx.save(model([tensor_type(n, a) for n, a in found.items()]), path)
    onnx.checker.check_model(str(path), full_check=True)
    finish(path, feeds)


def make_model(graph, opset, ir=None, functions=(), domains=()):
    opsets = [helper.make_opsetid("", opset)] + [helper.make_opsetid(d, 1) for d in domains]
    proto = helper.make_model(graph, opset_imports=opsets, functions=list(functions), producer_name="wasm-torch-cases")
    proto.ir_version = ir or ir_version(opset)
    return proto


def write_model(folder, name, proto, feeds):
    """Writes a whole-graph case and its golden."""
    path = folder / f"{name}.onnx"
    onnx.save(proto, path)
    onnx.checker.check_model(str(path), full_check=True)
    finish(path, feeds)


def finish(path, feeds):
    """Stores the golden of `path` after comparing onnxruntime with ONNX's reference evaluator."""
    outputs = common.run_onnxruntime(path, feeds)
    common.save_golden(path.with_suffix(".npz"), feeds, outputs)
    try:
        from onnx.reference import ReferenceEvaluator

        with np.errstate(all="ignore"):
            reference = ReferenceEvaluator(str(path)).run(list(outputs), feeds)
    except Exception as error:  # the reference lacks some old versions: that is worth a line, not a failure
        common.progress(f"note: {path.name}: not compared with the reference evaluator ({type(error).__name__}: {str(error)[:90]})")
        return
    for (output, found), expected in zip(outputs.items(), reference):
        if found.dtype != expected.dtype or found.shape != expected.shape:
            common.progress(f"differs: {path.name} {output}: {found.dtype}{found.shape}, reference {expected.dtype}{expected.shape}")
        elif not np.allclose(found, expected, rtol=1e-4, atol=1e-5, equal_nan=True):
            gap = np.abs(found.astype(np.float64) - expected.astype(np.float64)).max()
            common.progress(f"differs: {path.name} {output}: by {gap:.3g} from the reference evaluator")


FLOAT = TensorProto.FLOAT
