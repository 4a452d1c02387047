"""Exports of ONNX models: sources, options, reports, errors. Nothing here needs torch."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import DIGITS

import wasm_torch
from wasm_torch import _operator


def test_paths_and_bytes_give_the_same_module(tmp_path):
    reports = [
        wasm_torch.export_to_wasm(source, tmp_path / f"{i}.wasm", progress=False)
        for i, source in enumerate([str(DIGITS), DIGITS, DIGITS.read_bytes(), bytearray(DIGITS.read_bytes())])
    ]
    assert len({report.path.read_bytes() for report in reports}) == 1
    assert reports[0].sizes["total"] == reports[0].path.stat().st_size
    assert reports[0].exporter is None and reports[0].verification is None


def test_model_protos_are_taken(tmp_path):
    onnx = pytest.importorskip("onnx", reason="the package onnx is not installed: ModelProto is not tested")
    wasm_torch.export_to_wasm(onnx.load(DIGITS), tmp_path / "a.wasm", progress=False)
    wasm_torch.export_to_wasm(DIGITS, tmp_path / "b.wasm", progress=False)
    x = np.random.default_rng(0).random((1, 1, 28, 28), np.float32)
    assert np.array_equal(wasm_torch.load(tmp_path / "a.wasm")(x), wasm_torch.load(tmp_path / "b.wasm")(x))


def test_the_report_says_what_happened(tmp_path, image):
    stages = []
    report = wasm_torch.export_to_wasm(DIGITS, tmp_path / "d.wasm", image, progress=stages.append)
    assert stages[0] == "importing the model" and "linking the module" in stages
    assert report.verification.ok and report.verification.max_rel < 1e-5
    assert report.passes and all(count > 0 for count in report.passes.values())
    assert report.layers and report.peak_memory_bytes >= 65536
    assert "verified" in repr(report) and "<table>" in report._repr_html_()
    report.save(tmp_path / "report.json")
    assert '"verification"' in (tmp_path / "report.json").read_text()


def test_keywords_reach_the_compiler(tmp_path):
    export = lambda **options: wasm_torch.export_to_wasm(DIGITS, tmp_path / "d.wasm", progress=False, **options)  # noqa: E731
    assert export(optimization_level=0).details["options"]["level"] == "O0"
    assert export(opt_level="O1").details["options"]["level"] == "O1"
    assert set(export(use_threads=False).sizes["variants"]) == {"relaxed"}
    assert set(export(enable_threads=True).sizes["variants"]) == {"relaxed", "threads", "relaxed+threads"}
    assert export(memory_layout="nchw").details["options"]["disable_passes"] == ["nhwc_layout"]
    assert export(variants="baseline").sizes["variants"] == {}
    assert export(passes=["constant_folding"]).details["options"]["passes"] == ["constant_folding"]
    assert export(target_size_mb=0.001).warnings[-1].startswith("the module has")
    export(precompress=True, types=True)
    assert (tmp_path / "d.wasm.br").exists() and (tmp_path / "d.d.ts").exists()


def test_inputs_can_be_bound(tmp_path):
    model = _operator.model("Mul", [np.zeros(3, np.float32), np.zeros(3, np.float32)], {})
    for value in ([1.0, 2.0, 3.0], np.array([1, 2, 3], np.float32)):
        wasm_torch.export_to_wasm(model, tmp_path / "m.wasm", bind={"x1": value}, progress=False)
        assert wasm_torch.load(tmp_path / "m.wasm")([2.0, 2.0, 2.0]).tolist() == [2.0, 4.0, 6.0]


WRONG = [
    (dict(use_simd=False), wasm_torch.OptionError, "SIMD"),
    (dict(enable_simd=False), wasm_torch.OptionError, "SIMD"),
    (dict(memory_layout="chwn"), wasm_torch.OptionError, "nchw"),
    (dict(align_tensors=False), wasm_torch.OptionError, "aligned"),
    (dict(optimization_level="O7"), wasm_torch.OptionError, "O7"),
    (dict(passes=["nhwc"]), wasm_torch.OptionError, "nhwc_layout"),
    (dict(variants=["fast"]), wasm_torch.OptionError, "fast"),
    (dict(pool_mb="many"), wasm_torch.OptionError, "many"),
    (dict(dims={"batch": -1}), wasm_torch.OptionError, "-1"),
    (dict(exporter="caffe"), wasm_torch.OptionError, "dynamo"),
    (dict(quantization="static"), ValueError, "calibration_data"),
    (dict(quantization="tiny"), wasm_torch.QuantizationError, "dynamic"),
    (dict(optimisation_level="O2"), TypeError, "did you mean 'optimization_level'"),
    (dict(opt_level="O2", optimization_level="O1"), TypeError, "twice"),
    (dict(pool_mb={1: object()}), TypeError, "wrong type"),
]


@pytest.mark.parametrize("options, error, text", WRONG, ids=[",".join(options) + f"={i}" for i, (options, _, _) in enumerate(WRONG)])
def test_wrong_options_are_named(tmp_path, options, error, text):
    with pytest.raises(error) as caught:
        wasm_torch.export_to_wasm(DIGITS, tmp_path / "d.wasm", progress=False, **options)
    assert text in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_wrong_models_are_named(tmp_path):
    export = lambda model, path="d.wasm": wasm_torch.export_to_wasm(model, tmp_path / path, progress=False)  # noqa: E731
    with pytest.raises(TypeError, match="NoneType"):
        export(None)
    with pytest.raises(FileNotFoundError):
        export("missing.onnx")
    with pytest.raises(wasm_torch.InvalidModelError):
        export(b"\x89PNG\r\n")
    with pytest.raises(wasm_torch.UnsupportedOperatorError) as caught:
        export(_operator.model("TfIdfVectorizer2", [np.zeros(3, np.float32)], {}))
    assert caught.value.operators == ["TfIdfVectorizer2"] and caught.value.layers
    with pytest.raises(NotImplementedError):
        export(_operator.model("NoSuchOperator", [np.zeros(3, np.float32)], {}))
    assert list(tmp_path.iterdir()) == []


def test_files_that_cannot_be_written(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        wasm_torch.export_to_wasm(DIGITS, tmp_path / "no" / "d.wasm", progress=False)
    with pytest.raises(IsADirectoryError):
        wasm_torch.export_to_wasm(DIGITS, tmp_path, progress=False)
    if os.geteuid() != 0:
        tmp_path.chmod(0o500)
        with pytest.raises(PermissionError):
            wasm_torch.export_to_wasm(DIGITS, tmp_path / "d.wasm", progress=False)
        tmp_path.chmod(0o700)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_export_leaves_the_old_file(tmp_path):
    path = tmp_path / "d.wasm"
    path.write_bytes(b"old")
    with pytest.raises(wasm_torch.InvalidModelError):
        wasm_torch.export_to_wasm(b"not onnx", path, progress=False)
    assert path.read_bytes() == b"old"


def test_an_exception_of_the_progress_function_ends_the_export(tmp_path):
    def stop(stage):
        raise KeyError(stage)

    with pytest.raises(KeyError, match="importing"):
        wasm_torch.export_to_wasm(DIGITS, tmp_path / "d.wasm", progress=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_interrupts_end_the_export(tmp_path):
    code = """if True:
        import signal, sys, time, wasm_torch
        signal.signal(signal.SIGINT, signal.default_int_handler)  # Background jobs inherit that it is ignored.
        def say(stage):
            print(stage, flush=True)
            time.sleep(0.2)
        try:
            wasm_torch.export_to_wasm(sys.argv[1], sys.argv[2], progress=say)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
    """
    process = subprocess.Popen([sys.executable, "-c", code, str(DIGITS), str(tmp_path / "d.wasm")], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline().strip() == "importing the model"
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and output.strip().splitlines()[-1] == "interrupted"
    assert time.monotonic() - start < 10
    assert list(tmp_path.iterdir()) == []
