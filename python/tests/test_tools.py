"""What is built on exports and modules: the runtime, backends, optimisation wishes, benchmarks."""

import json

import numpy as np
import pytest
from conftest import DIGITS

import wasm_torch
from wasm_torch import Backend, BackendSelector, WASMRuntime, benchmarks, optimize


def test_the_runtime_counts(digits, image, operator_module):
    runtime = WASMRuntime(threads=1, timeout_seconds=60)
    module = runtime.load_model(digits)
    images = np.random.default_rng(1).random((5, 1, 28, 28), np.float32)
    rows = runtime.batch_inference(module, images)
    assert len(rows) == 5 and all(np.array_equal(row, module(one[None])[0]) for row, one in zip(rows, images))
    assert len(runtime.batch_inference(module, [image, (image,), {module.inputs[0].name: image}])) == 3
    with pytest.raises(wasm_torch.ShapeError):
        runtime.run(module, image[0])
    stats = runtime.get_runtime_stats()
    assert (stats["models"], stats["calls"], stats["failures"], stats["timeouts"]) == (1, 9, 1, 0)
    assert stats["memory_bytes"] >= 65536 and stats["mean_ms"] > 0
    with pytest.raises(wasm_torch.OptionError):
        WASMRuntime(simd=False)
    four = np.zeros((4, 3), np.float32)
    doubled = runtime.load_model(operator_module("Add", four, four))
    with pytest.raises(TypeError):
        runtime.batch_inference(doubled, [None])
    relu = runtime.load_model(operator_module("Relu", four))
    samples = np.random.default_rng(2).standard_normal((10, 3)).astype(np.float32)
    assert np.array_equal(runtime.batch_inference(relu, samples), np.maximum(samples, 0))


def test_backends_agree(image):
    results = {}
    for backend in (Backend.WASM, Backend.REFERENCE, Backend.AUTO):
        selector = BackendSelector(backend)
        results[backend] = selector.call_function(DIGITS, image)
        assert selector.get_status()["last"] == ("wasm" if backend is Backend.AUTO else backend.value)
    assert all(np.allclose(result, results[Backend.WASM], atol=1e-4) for result in results.values())


def test_onnxruntime_is_a_backend(image):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: it is not tested as a backend")
    selector = BackendSelector(Backend.ONNXRUNTIME)
    found = selector.call_function(DIGITS, image)
    assert selector.get_status()["last"] == "onnxruntime"
    assert np.allclose(found, BackendSelector().call_function(DIGITS, image), atol=1e-4)


def test_operators_can_be_called():
    selector = BackendSelector()
    assert selector.is_wasm_available()
    x = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    assert np.allclose(selector.call_function("Softmax", x, axis=-1).sum(-1), 1)
    assert np.allclose(selector.call_function("MatMul", x, x.T.copy()), x @ x.T, atol=1e-5)
    assert np.array_equal(selector.call_function("Transpose", x, perm=[1, 0]), x.T)
    assert selector.call_function("LeakyRelu", np.float32([-2, 2]), alpha=0.25).tolist() == [-0.5, 2.0]
    statistics = selector.get_statistics()
    assert statistics["wasm"]["calls"] == 4 and statistics["reference"]["calls"] == 0


def test_backends_fall_back_and_say_why(digits, image):
    selector = BackendSelector(Backend.REFERENCE)
    module = wasm_torch.load(digits)
    assert np.array_equal(selector.call_function(module, image), module(image))
    status = selector.get_status()
    assert status["last"] == "wasm" and "only wasm runs" in status["reasons"]["reference"]
    with pytest.raises(wasm_torch.BackendError) as caught:
        BackendSelector().call_function("NoSuchOperator", image)
    assert set(caught.value.reasons) == {"wasm", "onnxruntime", "reference"}
    with pytest.raises(wasm_torch.BackendError):
        BackendSelector(Backend.REFERENCE, fallback=False).call_function(module, image)
    with pytest.raises(TypeError):
        BackendSelector().call_function(object(), image)
    preloaded = BackendSelector()
    assert preloaded.preload(DIGITS) is Backend.WASM
    with pytest.raises(wasm_torch.ShapeError):
        preloaded.call_function(DIGITS, image[0])


def test_wishes_compose(tmp_path):
    wishes = optimize.optimize_for_browser(DIGITS, optimization_passes=["constant_folding", "nhwc_layout"], target_size_mb=5)
    assert wishes.options["passes"] == ["constant_folding", "nhwc_layout"]
    both = optimize.quantize_for_wasm(wishes, "static", calibration_data=np.zeros((4, 1, 28, 28), np.float32))
    assert both.options == wishes.options and both.settings["quantization"] == "static" and both.settings["target_size_mb"] == 5
    assert wishes.settings.get("quantization") is None, "what was given is unchanged"
    report = wasm_torch.export_to_wasm(wishes, tmp_path / "d.wasm", progress=False)
    assert (tmp_path / "d.wasm.br").exists() and report.details["options"]["passes"] == wishes.options["passes"]
    report = wasm_torch.export_to_wasm(wishes, tmp_path / "d.wasm", progress=False, passes=["constant_folding"], optimization_level="O1")
    assert report.details["options"]["passes"] == ["constant_folding"] and report.details["options"]["level"] == "O1"


def test_wishes_that_make_no_sense():
    with pytest.raises(ValueError, match="calibration_data"):
        optimize.quantize_for_wasm(DIGITS, "static")
    with pytest.raises(wasm_torch.QuantizationError, match="tiny"):
        optimize.quantize_for_wasm(DIGITS, "tiny")
    with pytest.raises(wasm_torch.QuantizationError, match="target_accuracy"):
        optimize.quantize_for_wasm(DIGITS, "dynamic", target_accuracy=99)
    with pytest.raises(wasm_torch.OptionError, match="fuse_pointwise"):
        optimize.optimize_for_browser(DIGITS, ["fuse_pointwize"])


def test_information_about_a_model():
    info = optimize.get_optimization_info(DIGITS)
    assert info["operators"]["Conv"] >= 1 and info["macs"] > 0 and info["problems"] == []
    assert info["parameter_bytes"] == 4 * info["parameters"]
    assert "nhwc_layout" in [entry["name"] for entry in info["passes"]]
    assert optimize.get_optimization_info(optimize.optimize_for_browser(DIGITS.read_bytes()))["wishes"] == {"precompress": True}


def test_benchmarks_keep_and_compare_numbers(tmp_path):
    bench = benchmarks.ModelBenchmark(tmp_path, repeat=3)
    rows = bench.benchmark_model_export(DIGITS, "digits", (1, 1, 28, 28), ["O0", "O2"])
    assert [row["variant"] for row in rows] == ["O0", "O2"] and all(row["median_ms"] > 0 and row["error"] < 1e-4 for row in rows)
    (relaxed,) = [row for row in bench.benchmark_browser_optimization(DIGITS, "digits", (1, 1, 28, 28)) if row["variant"] == "relaxed"]
    assert relaxed["compressed_mb"] < relaxed["size_mb"]
    assert "digits" in bench.table() and "O2" in bench.table()
    saved = bench.save()
    assert bench.check_regression(saved) == []
    earlier = json.loads(saved.read_text())
    earlier["results"][0]["size_mb"] /= 2
    earlier["results"].append({"benchmark": "export", "model": "other", "variant": "O2"})
    saved.write_text(json.dumps(earlier))
    problems = bench.check_regression(saved)
    assert len(problems) == 2 and "size_mb" in problems[0] and "not measured" in problems[1]
    failed = bench.benchmark_model_export(b"not onnx", "broken", (1,), "O2")
    assert "InvalidModelError" in failed[0]["failure"] and "broken" in bench.table()


def test_a_comprehensive_benchmark(tmp_path):
    result = benchmarks.ModelBenchmark(tmp_path, repeat=1).run_comprehensive_benchmark({"digits": (DIGITS, (1, 1, 28, 28))})
    assert {row["benchmark"] for row in result["results"]} == {"export", "quantization", "browser"}
    assert (tmp_path / "results.json").exists() and result["files"]
