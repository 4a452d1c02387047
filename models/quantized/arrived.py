"""Writes small models that arrive quantised, and what onnxruntime computes with them: one network by onnxruntime's
quantiser in three forms and, where torchao is installed, by PyTorch's pt2e.

usage: python models/quantized/arrived.py

The network has what such files have: an inverted residual, maximum and average pooling, joined channels, a linear layer.
"""

import pathlib
import sys
import tempfile

import numpy as np

FOLDER = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(FOLDER.parent / "tools")]
import common  # noqa: E402

SHAPE = (1, 3, 16, 16)
# Name: format, weights per channel, element types of activations and weights.
FORMS = {
    "qdq_u8": ("QDQ", True, "QUInt8", "QInt8"),
    "qdq_i8": ("QDQ", False, "QInt8", "QInt8"),
    "qop_u8": ("QOperator", True, "QUInt8", "QInt8"),
}


def network():
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(3, 12, 3, 2, 1), nn.ReLU6())
            self.expand = nn.Sequential(nn.Conv2d(12, 24, 1), nn.ReLU6())
            self.depthwise = nn.Sequential(nn.Conv2d(24, 24, 3, 1, 1, groups=24), nn.ReLU())
            self.project = nn.Conv2d(24, 12, 1)
            self.left = nn.Conv2d(12, 8, 3, 1, 1)
            self.join = nn.Sequential(nn.Conv2d(20, 16, 3, 1, 1, bias=False), nn.ReLU())
            self.head = nn.Linear(16, 10)

        def forward(self, x):
            x = self.stem(x)
            x = x + self.project(self.depthwise(self.expand(x)))
            x = torch.cat([nn.functional.max_pool2d(x, 3, 1, 1), self.left(x)], 1)
            x = self.join(x).mean((2, 3))
            return self.head(x)

    torch.manual_seed(7)
    return Net().eval()


def samples(count):
    return np.random.default_rng(5).normal(size=(count, *SHAPE)).astype(np.float32)


def write(name, model, inputs):
    """The model, and what onnxruntime computes without changing it first, for several samples."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    feed, out = session.get_inputs()[0].name, session.get_outputs()[0].name
    results = np.concatenate([session.run(None, {feed: x})[0] for x in inputs])
    common.save_npz(FOLDER / f"{name}.npz", {f"input:{feed}": inputs, f"output:{out}": results})


def by_onnxruntime(float_model, folder):
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Samples(CalibrationDataReader):
        def __init__(self):
            self.left = iter(samples(16))

        def get_next(self):
            x = next(self.left, None)
            return None if x is None else {"input": x}

    prepared = folder / "prepared.onnx"
    quant_pre_process(str(float_model), str(prepared), skip_symbolic_shape=True)
    for name, (form, per_channel, activations, weights) in FORMS.items():
        path = FOLDER / f"{name}.onnx"
        types = {"activation_type": getattr(QuantType, activations), "weight_type": getattr(QuantType, weights)}
        quantize_static(str(prepared), str(path), Samples(), quant_format=getattr(QuantFormat, form), per_channel=per_channel, **types)
        write(name, path, samples(4))


def by_pt2e(model):
    """PyTorch's own graph-mode quantisation with the quantiser for x86: `u8` activations, `i8` weights per channel."""
    try:
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
        from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86
    except ImportError as error:
        common.progress(f"SKIPPED pt2e: {error}")
        return
    import torch

    quantizer = x86.X86InductorQuantizer().set_global(x86.get_default_x86_inductor_quantization_config())
    example = (torch.from_numpy(samples(1)[0]),)
    prepared = prepare_pt2e(torch.export.export(model, example).module(), quantizer)
    for x in samples(16):
        prepared(torch.from_numpy(x))
    converted = convert_pt2e(prepared)
    path = FOLDER / "pt2e.onnx"
    program = torch.onnx.export(torch.export.export(converted, example), dynamo=True, input_names=["input"], output_names=["logits"])
    program.save(str(path))
    write("pt2e", path, samples(4))


def main():
    import torch

    model = network()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        path = folder / "float.onnx"
        example = (torch.from_numpy(samples(1)[0]),)
        torch.onnx.export(model, example, str(path), input_names=["input"], output_names=["logits"], dynamo=False, opset_version=17)
        by_onnxruntime(path, folder)
    by_pt2e(model)


if __name__ == "__main__":
    main()
