"""Quantises cached models as onnxruntime does it, for speed beside ours: static QDQ of convolutional networks, with a scale
per output channel, and dynamic INT8 of MiniLM. Calibration is noise: what the numbers mean does not change their speed.

usage: python models/quantized/peers.py MODELS FOLDER

MODELS: folder of NAME.legacy.onnx (`make models`). FOLDER gets NAME.quantized.onnx and, for calibration, NAME.samples.npz.
"""

import pathlib
import sys
import tempfile

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

STATIC = ["mobilenet_v2", "resnet18"]
DYNAMIC = ["minilm_l6_128"]


class Samples(CalibrationDataReader):
    def __init__(self, name: str, samples: np.ndarray) -> None:
        self.rest = iter([{name: sample[None]} for sample in samples])

    def get_next(self) -> dict | None:
        return next(self.rest, None)


def main() -> None:
    models, folder = map(pathlib.Path, sys.argv[1:3])
    folder.mkdir(parents=True, exist_ok=True)
    for name in STATIC:
        source = models / f"{name}.legacy.onnx"
        entry = onnx.load(source, load_external_data=False).graph.input[0]
        shape = [dim.dim_value for dim in entry.type.tensor_type.shape.dim]
        samples = np.random.default_rng(0).standard_normal([4, *shape[1:]]).astype(np.float32)
        np.savez(folder / f"{name}.samples.npz", **{entry.name: samples})
        with tempfile.TemporaryDirectory() as scratch:
            prepared = pathlib.Path(scratch) / "prepared.onnx"
            quant_pre_process(source, prepared, skip_symbolic_shape=True)
            quantize_static(
                prepared,
                folder / f"{name}.quantized.onnx",
                Samples(entry.name, samples),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
    for name in DYNAMIC:
        quantize_dynamic(models / f"{name}.legacy.onnx", folder / f"{name}.quantized.onnx", weight_type=QuantType.QInt8)


if __name__ == "__main__":
    main()
