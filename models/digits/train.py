"""Trains the digits network on MNIST (about a minute on one core) and writes `weights.npz`. It exports nothing.

usage: python models/digits/train.py [--epochs N] [--seed S]
"""

import argparse
import time

import torch
from torch.nn import functional

from model import FOLDER, Digits, common, mnist, predict


def main():
    parser = argparse.ArgumentParser(description="Train the digits network on MNIST and write weights.npz.")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--batch", type=int, default=128)
    options = parser.parse_args()

    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    torch.use_deterministic_algorithms(True)
    images, labels = map(torch.from_numpy, mnist("train"))
    test_images, test_labels = mnist("t10k")
    model = Digits()
    steps = options.epochs * (len(images) // options.batch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=8e-3, total_steps=steps)
    start = time.time()
    for epoch in range(options.epochs):
        model.train()
        order = torch.randperm(len(images))
        for first in range(0, len(order) - options.batch + 1, options.batch):
            batch = order[first : first + options.batch]
            loss = functional.cross_entropy(model(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        accuracy = (predict(model, test_images).argmax(1) == test_labels).mean()
        common.progress(f"epoch {epoch + 1}/{options.epochs}  test accuracy {accuracy:.4f}  {time.time() - start:.0f} s")
    if accuracy < 0.985:
        raise SystemExit(f"error: test accuracy {accuracy:.4f} is below 0.985; weights.npz is left as it was")
    common.save_npz(FOLDER / "weights.npz", {name: tensor.numpy() for name, tensor in model.state_dict().items()})


if __name__ == "__main__":
    main()
