"""Exports the trained digits network with both exporters and writes its goldens. It trains nothing.

usage: python models/digits/export.py
"""

import argparse
import json

import numpy as np
import torch

from model import FOLDER, Digits, common, mnist, predict

GOLDEN_IMAGES = 256


def load_model():
    """The network with the committed weights."""
    model = Digits()
    with np.load(FOLDER / "weights.npz") as weights:
        model.load_state_dict({name: torch.from_numpy(weights[name]) for name in weights.files})
    return model.eval()


def main():
    argparse.ArgumentParser(description="Write digits.dynamo.onnx, digits.legacy.onnx, golden.npz and accuracy.json.").parse_args()
    torch.set_num_threads(1)
    model = load_model()
    images, labels = mnist("t10k")
    logits = predict(model, images)
    # One image at a time, as the exported models run.
    golden_logits = np.concatenate([predict(model, images[i : i + 1]) for i in range(GOLDEN_IMAGES)])
    for exporter in common.EXPORTERS:
        path = FOLDER / f"digits.{exporter}.onnx"
        # PRESERVE keeps the BatchNormalization nodes, which the legacy exporter would otherwise fold away.
        options = {"training": torch.onnx.TrainingMode.PRESERVE} if exporter == "legacy" else {}
        common.export_onnx(model, (torch.from_numpy(images[:1]),), path, exporter, ["input"], ["logits"], **options)
        found = np.concatenate([common.run_onnxruntime(path, {"input": images[i : i + 1]})["logits"] for i in range(8)])
        error = np.abs(found - golden_logits[:8]).max()
        common.progress(f"{path.name}: {path.stat().st_size} bytes, max |onnxruntime - PyTorch| {error:.2e} over 8 images")
    common.save_npz(
        FOLDER / "golden.npz",
        {"images": images[:GOLDEN_IMAGES], "labels": labels[:GOLDEN_IMAGES], "logits": golden_logits},
    )
    correct = logits.argmax(1) == labels
    report = {
        "test_images": len(labels),
        "test_accuracy": round(float(correct.mean()), 4),
        "golden_images": GOLDEN_IMAGES,
        "golden_correct": int((golden_logits.argmax(1) == labels[:GOLDEN_IMAGES]).sum()),
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    (FOLDER / "accuracy.json").write_text(json.dumps(report, indent=2) + "\n")
    common.progress(f"accuracy.json: {report}")


if __name__ == "__main__":
    main()
