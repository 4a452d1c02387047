"""The package itself: import time, lazy names, stubs, command line, doctests."""

import doctest
import importlib
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import DIGITS, run_python

import wasm_torch


def test_import_is_quick_and_imports_nothing_heavy():
    code = "import time; t = time.perf_counter(); import wasm_torch; print(time.perf_counter() - t); import sys; print('numpy' in sys.modules)"
    found = [run_python(code).split() for _ in range(5)]
    assert {heavy for _, heavy in found} == {"False"}
    assert min(float(seconds) for seconds, _ in found) < 0.150


def test_with_numpy_and_the_native_module_it_is_still_quick():
    code = "import numpy, time; t = time.perf_counter(); import wasm_torch; wasm_torch.load, wasm_torch.export_to_wasm; print(time.perf_counter() - t)"
    seconds = statistics.median(float(run_python(code)) for _ in range(3))
    print(f"with everything but numpy: {1e3 * seconds:.0f} ms")
    assert seconds < 1.0


def test_every_public_name_is_there():
    for name in wasm_torch.__all__:
        assert getattr(wasm_torch, name) is not None
    assert set(wasm_torch.__all__) <= set(dir(wasm_torch))
    with pytest.raises(AttributeError, match="has no attribute 'exprot'"):
        wasm_torch.exprot


def test_stubs_name_what_the_native_module_has():
    import ast

    from wasm_torch import _native

    stub = ast.parse((Path(wasm_torch.__file__).parent / "_native.pyi").read_text())
    functions = {node.name for node in stub.body if isinstance(node, ast.FunctionDef)}
    classes = {node.name: {item.name for item in node.body if isinstance(item, ast.FunctionDef)} for node in stub.body if isinstance(node, ast.ClassDef)}
    there = {name for name in dir(_native) if not name.startswith("_") and name.islower()}
    assert functions == there
    for name, methods in classes.items():
        native = {method for method in vars(getattr(_native, name)) if not method.startswith("_")}
        assert methods - {"__new__"} == native, name


@pytest.mark.parametrize("name", ["_options", "optimize", "_quantize", "_report", "_module"])
def test_examples_in_docstrings(name):
    result = doctest.testmod(importlib.import_module(f"wasm_torch.{name}"))
    assert result.failed == 0


def test_the_command_line(tmp_path):
    module = tmp_path / "digits.wasm"
    run = [sys.executable, "-m", "wasm_torch"]
    done = subprocess.run([*run, "export", str(DIGITS), "-o", str(module)], capture_output=True, text=True)
    assert done.returncode == 0 and module.exists(), done.stderr
    done = subprocess.run([*run, "inspect", str(module), "--json"], capture_output=True, text=True)
    assert done.returncode == 0 and '"inputs"' in done.stdout
    done = subprocess.run([*run, "export", "missing.onnx"], capture_output=True, text=True)
    assert done.returncode == 2 and "missing.onnx" in done.stderr
    version = subprocess.run([*run, "--version"], capture_output=True, text=True).stdout
    assert version.split() == ["wasm-torch", wasm_torch.__version__]


def test_without_torch_and_onnx(tmp_path):
    code = """if True:
        import sys
        for name in ("torch", "onnx", "onnxruntime"):
            sys.modules[name] = None
        import numpy as np, wasm_torch
        report = wasm_torch.export_to_wasm(sys.argv[1], sys.argv[2], np.zeros((1, 1, 28, 28), np.float32), progress=False)
        assert report.verification.ok and report.verification.against == "eval", report
        print(wasm_torch.load(sys.argv[2])(np.zeros((1, 1, 28, 28), np.float32)).shape)
    """
    assert run_python(code, DIGITS, tmp_path / "digits.wasm").strip() == "(1, 10)"
