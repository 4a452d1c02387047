"""Quantises cached models as onnxruntime does it, for speed beside ours: static QDQ of convolutional networks and dynamic
INT8 of MiniLM. Calibration is noise: what the numbers mean does not change their speed. Static quantisation comes in two
forms, for which onnxruntime-web has different code: `i8`, onnxruntime's defaults (signed activations, one scale per tensor
of weights), and `u8` (unsigned activations, a scale per output channel).

usage: python models/quantized/peers.py MODELS FOLDER

MODELS: folder of NAME.legacy.onnx (`make models`). FOLDER gets NAME.quantized.onnx, or NAME.FORM.quantized.onnx and, for
calibration, NAME.samples.npz.
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
FORMS = {
    "i8": {},
    "u8": {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8, "per_channel": True},
}


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
            for form, options in FORMS.items():
                target = folder / f"{name}.{form}.quantized.onnx"
                quantize_static(prepared, target, Samples(entry.name, samples), quant_format=QuantFormat.QDQ, **options)
    for name in DYNAMIC:
        quantize_dynamic(models / f"{name}.legacy.onnx", folder / f"{name}.quantized.onnx", weight_type=QuantType.QInt8)


if __name__ == "__main__":
    main()
