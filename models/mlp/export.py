"""Exports a three-layer perceptron with seeded random weights, with both exporters and once with external data.

usage: python models/mlp/export.py
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

BATCH, FEATURES, HIDDEN, CLASSES = 4, 50, (120, 70), 11


class Mlp(nn.Module):
    """[4,50] → [4,11] probabilities: Linear, ReLU, Linear, exact GELU, Linear, softmax."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(FEATURES, HIDDEN[0])
        self.second = nn.Linear(HIDDEN[0], HIDDEN[1])
        self.third = nn.Linear(HIDDEN[1], CLASSES)

    def forward(self, x):
        x = torch.relu(self.first(x))
        x = nn.functional.gelu(self.second(x))
        return torch.softmax(self.third(x), dim=-1)


def main():
    argparse.ArgumentParser(description="Write mlp.dynamo.onnx, mlp.legacy.onnx, mlp.external.onnx(.data) and golden.npz.").parse_args()
    import onnx

    torch.set_num_threads(1)
    torch.manual_seed(2)
    model = Mlp().eval()
    with torch.no_grad():
        for layer in (model.first, model.second, model.third):
            # Variance-preserving weights: the probabilities spread instead of all lying near 1/11.
            layer.weight.normal_(0, (2 / layer.in_features) ** 0.5)
    inputs = torch.randn(BATCH, FEATURES)
    for exporter in common.EXPORTERS:
        path = FOLDER / f"mlp.{exporter}.onnx"
        common.export_onnx(model, (inputs,), path, exporter, ["input"], ["probabilities"])
    with torch.no_grad():
        expected = model(inputs).numpy()
    common.save_golden(FOLDER / "golden.npz", {"input": inputs.numpy()}, {"probabilities": expected})

    data = FOLDER / "mlp.external.onnx.data"
    data.unlink(missing_ok=True)  # onnx appends to a file that is there
    proto = onnx.load(FOLDER / "mlp.dynamo.onnx")
    onnx.save(proto, FOLDER / "mlp.external.onnx", save_as_external_data=True, location=data.name, size_threshold=256)
    data.chmod(0o644)

    for name in ("dynamo", "legacy", "external"):
        path = FOLDER / f"mlp.{name}.onnx"
        found = common.run_onnxruntime(path, {"input": inputs.numpy()})["probabilities"]
        common.progress(f"{path.name}: {path.stat().st_size} bytes, max |onnxruntime - PyTorch| {np.abs(found - expected).max():.2e}")


if __name__ == "__main__":
    main()
