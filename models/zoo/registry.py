"""The table of architectures: what an entry is, and how random weights are made worth testing. Not the entries: those are
in the other files of this folder, one per family.
"""

import dataclasses
from typing import Callable

import numpy as np


@dataclasses.dataclass
class Built:
    """A model in eval mode with example inputs by name (numpy arrays, in the order of `forward`)."""

    model: object
    inputs: dict
    # input name → {axis: symbol}; what stays fixed is not named.
    dynamic: dict | None = None
    # Keywords of `torch.onnx.export`, per exporter: {"dynamo": {...}, "legacy": {...}}.
    options: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Architecture:
    """One row: `build` makes the PyTorch model; or `file` gives the bytes of somebody else's ONNX file and its inputs."""

    name: str
    family: str
    build: Callable[[], Built] | None = None
    file: Callable[[], tuple] | None = None
    # Inputs that are constants when the model is compiled.
    bind: tuple = ()


ARCHITECTURES: dict[str, Architecture] = {}


def architecture(family, name=None):
    """Decorator: registers a function that returns a [`Built`]."""

    def register(build):
        key = name or build.__name__
        ARCHITECTURES[key] = Architecture(key, family, build=build)
        return build

    return register


def random_image(*shape):
    """Noise with the statistics of a normalised image."""
    return np.random.default_rng(7).standard_normal(shape, np.float32)


def image(size, channels=3):
    """Inputs of an image network."""
    return {"input": random_image(1, channels, size, size)}


def tokens(batch, length, vocabulary, seed=7):
    """Token numbers, i64 [batch, length]."""
    return np.random.default_rng(seed).integers(1, vocabulary, (batch, length))


def prepared(model, inputs=None):
    """`model` in eval mode with every constant parameter made random and BatchNorm calibrated on noise like `inputs`.

    Freshly made networks have parameters that are all 0, 1 or 1e-6 (biases, norms, layer scales, last layers of heads):
    a mistake with these would not show.
    """
    import torch

    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.numel() > 1 and parameter.is_floating_point() and parameter.min() == parameter.max():
                randomise(parameter, generator)
    norms = [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    model.eval()
    if norms and inputs:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a cumulative average
            norm.train()
        with torch.no_grad():
            for _ in range(2):
                model(*(noise_like(array, generator) for array in inputs.values()))
    return model.eval()


def randomise(parameter, generator):
    import torch

    if parameter.dim() <= 1 or parameter.max() != 0:
        centre = 1.0 if parameter.max() != 0 else 0.0
        width = 0.5 if centre else 0.1
        parameter.copy_(centre + width * (2 * torch.rand(parameter.shape, generator=generator) - 1))
    else:
        parameter.copy_(0.05 * torch.randn(parameter.shape, generator=generator))


def noise_like(array, generator):
    """A batch of 4 of the same shape; noise for floats, the array itself for everything else."""
    import torch

    tensor = torch.from_numpy(array)
    if not tensor.is_floating_point():
        return tensor
    shape = (4, *tensor.shape[1:]) if tensor.dim() >= 3 else tensor.shape
    return torch.randn(shape, generator=generator)


def seeded(build):
    """A model from a builder, always the same."""
    import torch

    torch.manual_seed(0)
    return build()


def on_image(build, size, channels=3, **extra):
    """The usual image network: seeded, prepared, one image of `size`."""
    inputs = image(size, channels)
    return Built(prepared(seeded(build), inputs), inputs, **extra)
