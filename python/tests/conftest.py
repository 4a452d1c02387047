"""What the tests share: small models, made without any package, and the places of those in the repository."""

import sys
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).parents[2]
DIGITS = REPOSITORY / "models/digits/digits.dynamo.onnx"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    """Compiled code of tests is not kept in the user's folder."""
    monkeypatch.setenv("WASM_TORCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """A module of the digits model, exported once."""
    import wasm_torch

    path = tmp_path_factory.mktemp("digits") / "digits.wasm"
    wasm_torch.export_to_wasm(DIGITS, path, progress=False)
    return path


@pytest.fixture(scope="session")
def operator_module(tmp_path_factory):
    """A function that gives the module of one operator."""
    import wasm_torch
    from wasm_torch import _operator

    def make(name, *arrays, outputs=1, **attributes):
        path = tmp_path_factory.mktemp(name) / f"{name}.wasm"
        wasm_torch.export_to_wasm(_operator.model(name, arrays, attributes, outputs), path, progress=False)
        return path

    return make


@pytest.fixture
def image():
    return np.random.default_rng(3).random((1, 1, 28, 28), np.float32)


@pytest.fixture(scope="session")
def torch():
    """PyTorch, or a skip that is heard."""
    module = pytest.importorskip("torch", reason="PyTorch is not installed: its models are not tested")
    module.set_num_threads(1)
    module.manual_seed(0)
    return module


def run_python(code, *arguments, **environment):
    """Runs code in a process of its own; gives what it printed."""
    import os
    import subprocess

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
        capture_output=True, text=True, env={**os.environ, **environment}, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout
