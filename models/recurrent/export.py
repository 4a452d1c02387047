"""Exports small LSTM, GRU and RNN layers with both exporters, operator variants that PyTorch does not write, and the
benchmark's LSTM into the cache.

usage: python models/recurrent/export.py

Committed: NAME.EXPORTER.onnx and variant_NAME.onnx with .npz beside each (`input:NAME`, `output:NAME`, computed by
onnxruntime). In `$WASM_TORCH_CACHE/models`: lstm_64_256.EXPORTER.onnx, gru_64_256.EXPORTER.onnx with .npz.
"""

import argparse
import pathlib
import sys

import numpy as np
import torch
from torch import nn

FOLDER = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent / "tools"))
import common  # noqa: E402

STEPS, BATCH, WIDTH, HIDDEN = 6, 2, 7, 10


class Tagger(nn.Module):
    """[batch, steps, width] → a score per step and class, and the last state: two bidirectional layers and a Linear."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer(WIDTH, HIDDEN, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(2 * HIDDEN, 5)

    def forward(self, x):
        y, state = self.layer(x)
        return self.head(y), state[0] if isinstance(state, tuple) else state


class Stateful(nn.Module):
    """One LSTM step block with its state as inputs and outputs, as streaming models have it."""

    def __init__(self):
        super().__init__()
        self.layer = nn.LSTM(WIDTH, HIDDEN)

    def forward(self, x, h, c):
        y, (h, c) = self.layer(x, (h, c))
        return y, h, c


class Plain(nn.Module):
    """The sequence of states of one layer."""

    def __init__(self, layer, width, hidden):
        super().__init__()
        self.layer = layer(width, hidden)

    def forward(self, x):
        return self.layer(x)[0]


def export(model, arrays, outputs, path, exporter):
    common.export_onnx(model, tuple(torch.from_numpy(a) for a in arrays.values()), path, exporter, list(arrays), outputs)
    found = common.run_onnxruntime(path, arrays)
    common.save_golden(path.with_suffix(".npz"), arrays, found)
    with torch.no_grad():
        expected = model(*(torch.from_numpy(a) for a in arrays.values()))
    expected = expected if isinstance(expected, tuple) else (expected,)
    error = max(np.abs(found[name] - e.numpy()).max() for name, e in zip(outputs, expected))
    common.progress(f"{path.name}: {path.stat().st_size} bytes, max |onnxruntime - PyTorch| {error:.1e}")


VARIANTS = {
    "lstm_peepholes": ("LSTM", {"peepholes": True, "states": True}, {}),
    "lstm_lengths": ("LSTM", {"lengths": True, "states": True}, {"direction": "bidirectional"}),
    "lstm_clip": ("LSTM", {"states": True}, {"clip": 0.3, "direction": "reverse"}),
    "lstm_input_forget": ("LSTM", {"states": True}, {"input_forget": 1}),
    "lstm_activations": ("LSTM", {}, {
        "direction": "bidirectional",
        "activations": ["HardSigmoid", "Softsign", "Relu", "Sigmoid", "LeakyRelu", "Elu"],
        "activation_alpha": [0.25, 0.03, 0.7],
        "activation_beta": [0.4],
    }),
    "gru_lengths": ("GRU", {"lengths": True, "states": True}, {"direction": "reverse"}),
    "gru_linear": ("GRU", {"lengths": True}, {"linear_before_reset": 1, "clip": 0.8, "direction": "bidirectional"}),
    "gru_clip": ("GRU", {"states": True}, {"clip": 0.3}),
    "rnn_affine": ("RNN", {"lengths": True, "states": True}, {"activations": ["Affine"], "activation_alpha": [0.6], "activation_beta": [0.1]}),
    "rnn_scaled": ("RNN", {}, {
        "direction": "bidirectional",
        "activations": ["ScaledTanh", "Softplus"],
        "activation_alpha": [0.6],
        "activation_beta": [0.8],
    }),
}


def variant(name, random):
    """One ONNX node with constant weights; the last output is the last state."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    op, extras, attributes = VARIANTS[name]
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[op]
    directions = 2 if attributes.get("direction") == "bidirectional" else 1
    draw = lambda *shape: (random.standard_normal(shape) * 0.5).astype(np.float32)
    batch = 4
    inputs = {"X": draw(STEPS, batch, WIDTH)}
    weights = {"W": draw(directions, gates * HIDDEN, WIDTH), "R": draw(directions, gates * HIDDEN, HIDDEN), "B": draw(directions, 2 * gates * HIDDEN)}
    if extras.get("lengths"):
        inputs["sequence_lens"] = np.array([3, STEPS, 0, 1], np.int32)
    if extras.get("states"):
        inputs["initial_h"] = draw(directions, batch, HIDDEN)
        if op == "LSTM":
            inputs["initial_c"] = draw(directions, batch, HIDDEN) * 3
    if extras.get("peepholes"):
        weights["P"] = draw(directions, 3 * HIDDEN)
    names = ["X", "W", "R", "B", "sequence_lens", "initial_h", *(["initial_c", "P"] if op == "LSTM" else [])]
    given = [n if n in inputs or n in weights else "" for n in names]
    while not given[-1]:
        given.pop()
    outputs = ["Y", "Y_h", *(["Y_c"] if op == "LSTM" else [])]
    node = helper.make_node(op, given, outputs, name="layer", hidden_size=HIDDEN, **attributes)
    shapes = {"Y": (STEPS, directions, batch, HIDDEN), "Y_h": (directions, batch, HIDDEN), "Y_c": (directions, batch, HIDDEN)}
    graph = helper.make_graph(
        [node],
        name,
        [helper.make_tensor_value_info(n, TensorProto.INT32 if a.dtype == np.int32 else TensorProto.FLOAT, a.shape) for n, a in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, shapes[n]) for n in outputs],
        [numpy_helper.from_array(a, n) for n, a in weights.items()],
    )
    path = FOLDER / f"variant_{name}.onnx"
    with common.replacing(path) as temporary:
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8), temporary)
    onnx.checker.check_model(str(path))
    common.save_golden(path.with_suffix(".npz"), inputs, common.run_onnxruntime(path, inputs))
    common.progress(f"{path.name}: {path.stat().st_size} bytes")


def main():
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(4)
    random = np.random.default_rng(4)
    draw = lambda *shape: random.standard_normal(shape, np.float32)
    cache = common.cache_dir("models")
    layers = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
    for name, layer in layers.items():
        model, arrays = Tagger(layer).eval(), {"x": draw(BATCH, STEPS, WIDTH)}
        for exporter in common.EXPORTERS:
            export(model, arrays, ["scores", "state"], FOLDER / f"{name}.{exporter}.onnx", exporter)
    model = Stateful().eval()
    arrays = {"x": draw(STEPS, 1, WIDTH), "h": draw(1, 1, HIDDEN), "c": draw(1, 1, HIDDEN)}
    for exporter in common.EXPORTERS:
        export(model, arrays, ["y", "h_after", "c_after"], FOLDER / f"stateful.{exporter}.onnx", exporter)
    for name in ("lstm", "gru"):
        model, arrays = Plain(layers[name], 64, 256).eval(), {"x": draw(100, 1, 64)}
        for exporter in common.EXPORTERS:
            export(model, arrays, ["y"], cache / f"{name}_64_256.{exporter}.onnx", exporter)
    for name in VARIANTS:
        variant(name, random)


if __name__ == "__main__":
    main()
