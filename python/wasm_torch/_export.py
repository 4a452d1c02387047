"""`export_to_wasm`: from a model of any kind to a module and a report. The compiler does the work; this gathers its options,
lets PyTorch write ONNX where need be, and compares the result with the model."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Callable, Optional, Union

from . import _native, _options, _quantize, _sources
from ._arrays import is_torch
from ._report import ExportReport, Verification
from .errors import ExportError, OptionError

Progress = Union[bool, Callable[[str], object]]


def export_to_wasm(
    model: Any,
    output_path: Union[str, os.PathLike[str]],
    example_input: Any = None,
    *,
    optimization_level: Union[str, int] = "O2",
    memory_layout: str = "nhwc",
    use_simd: bool = True,
    use_threads: bool = True,
    align_tensors: bool = True,
    dynamic_shapes: Any = None,
    quantization: Optional[str] = None,
    calibration_data: Any = None,
    target_accuracy: Optional[float] = None,
    target_size_mb: Optional[float] = None,
    verify: bool = True,
    progress: Progress = True,
    exporter: str = "auto",
    opset_version: Optional[int] = None,
    tolerance: Optional[float] = None,
    **options: Any,
) -> ExportReport:
    """Compiles a model to one WebAssembly module.

    Args:
        model: A `torch.nn.Module`, a `torch.export.ExportedProgram`, the path or the bytes of an ONNX file, an
            `onnx.ModelProto`, or what `wasm_torch.optimize` returned for one of these.
        output_path: The file to write. It appears only when it is complete.
        example_input: What `forward` takes: a tensor, a tuple, or a mapping of arguments. A `torch.nn.Module` needs it.
        optimization_level: `O0` to `O3`; see the compiler's `-O`.
        memory_layout: `nhwc` lays images out for SIMD, `nchw` leaves them as the model has them. Inputs and outputs keep their
            shapes either way.
        use_simd: Modules are SIMD code; `False` raises.
        use_threads: Hold code for several threads besides.
        align_tensors: Tensors are always aligned; `False` raises.
        dynamic_shapes: Dimensions that stay free: `{"input": {1: ("seq", 1, 512)}}`, the same with `torch.export.Dim`, or
            for an ONNX model `{"seq": (1, 512)}`.
        quantization: `dynamic`, `static` or `mixed`; see `wasm_torch.optimize.quantize_for_wasm`.
        calibration_data: Inputs of the model, for `static` and `mixed`: arrays, tensors, or a `DataLoader`.
        target_accuracy: Agreement with the unquantised model that quantisation must keep, from 0 to 1.
        target_size_mb: Largest file in MB (10^6 bytes); a larger one is a warning of the report.
        verify: Compare the module with the model on `example_input`.
        progress: Say what is being done on a terminal, or call a function with each stage's name.
        exporter: `auto` (dynamo, where that fails legacy), `dynamo` or `legacy`.
        opset_version: Of the ONNX file that PyTorch writes.
        tolerance: Error that `verify` accepts, relative to the largest output; by default 1e-4, or 0.1 where the model is quantised.
        options: The compiler's other options by their names: `dims`, `bind`, `passes`, `disable_passes`, `variants`, `pool_mb`,
            `external_weights`, `precompress`, `types`, …

    Returns:
        Sizes, layers, passes, memory, warnings, and the error that `verify` found.

    Raises:
        TypeError: The model or an option is of a wrong type, or there is no such option.
        UnsupportedOperatorError: Lists every operator that the compiler does not know, with its layer.
        TorchExportError: Neither exporter of PyTorch could write the model.
        ShapeError: A dimension has no size.
        OptionError: An option does not fit the model.
        OSError: A file cannot be read or written.
    """
    from .optimize import OptimizedModel

    keywords = _options.unalias(options)
    _options.check_names(list(keywords), [*_OWN, "level"])
    settings: dict[str, Any] = {
        "example_input": example_input, "optimization_level": optimization_level, "memory_layout": memory_layout, "use_simd": use_simd,
        "use_threads": use_threads, "align_tensors": align_tensors, "dynamic_shapes": dynamic_shapes, "quantization": quantization,
        "calibration_data": calibration_data, "target_accuracy": target_accuracy, "target_size_mb": target_size_mb,
        "preserve_accuracy": True,
    }  # fmt: skip
    for name in [name for name in keywords if name in settings]:
        if settings[name] is not _DEFAULTS[name]:
            raise TypeError(f"{name} is given twice, under two names")
        settings[name] = keywords.pop(name)
    if isinstance(model, OptimizedModel):
        settings, keywords = model.applied(settings, _DEFAULTS, keywords)
        model = model.model
    output = Path(os.fspath(output_path))
    _check_output(output)
    _check_settings(settings, exporter)
    source = _sources.onnx(model)
    with tempfile.TemporaryDirectory(prefix="wasm-torch-") as folder, _Progress(progress) as say:
        work = Path(folder)
        given = _compiler_options(settings, keywords)
        if source is None:
            report, source = _from_torch(model, settings, given, exporter, opset_version, output, work, say)
        else:
            given["dims"] = [*_options.dims(given.get("dims") or []), *_bounds(settings["dynamic_shapes"])]
            report = _compile(source, output, given, settings, work, say)
        if verify and settings["example_input"] is not None:
            say("comparing the module with the model")
            if tolerance is None:
                exact = settings["quantization"] is None and given.get("weights") is None
                tolerance = TOLERANCE if exact else QUANTIZED_TOLERANCE
            report.verification = _verify(model, source, settings, given, report, tolerance, work)
    _check_size(report, settings["target_size_mb"])
    return report


#: What `verify` accepts, relative to the largest output.
TOLERANCE = 1e-4
QUANTIZED_TOLERANCE = 0.1

_DEFAULTS: dict[str, Any] = {
    "example_input": None, "optimization_level": "O2", "memory_layout": "nhwc", "use_simd": True, "use_threads": True,
    "align_tensors": True, "dynamic_shapes": None, "quantization": None, "calibration_data": None, "target_accuracy": None,
    "target_size_mb": None, "preserve_accuracy": True,
}  # fmt: skip
_OWN = list(_DEFAULTS)


def _check_output(output: Path) -> None:
    """Raises before the work what would fail after it."""
    folder = output.parent
    if output.is_dir():
        raise IsADirectoryError(21, "this is a folder; name a file", str(output))
    if not folder.is_dir():
        raise FileNotFoundError(2, f"the folder {folder} does not exist", str(output))
    if not os.access(folder, os.W_OK):
        raise PermissionError(13, f"the folder {folder} cannot be written", str(output))


def _check_settings(settings: Mapping[str, Any], exporter: str) -> None:
    if not settings["use_simd"]:
        raise OptionError("modules are SIMD code; there is no other\nhint: every browser since Safari 16.4 has WebAssembly SIMD")
    if not settings["align_tensors"]:
        raise OptionError("tensors are always aligned\nhint: leave align_tensors out")
    if settings["memory_layout"] not in ("nhwc", "nchw"):
        raise OptionError(f"there is no memory layout {settings['memory_layout']!r}\nhint: give 'nhwc' or 'nchw'")
    if exporter not in ("auto", "dynamo", "legacy"):
        raise OptionError(f"there is no exporter {exporter!r}\nhint: give 'auto', 'dynamo' or 'legacy'")


def _compiler_options(settings: Mapping[str, Any], keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords as the compiler's options; what is given under its own name wins."""
    options = dict(keywords)
    options.setdefault("level", settings["optimization_level"])
    if settings["memory_layout"] == "nchw":
        disabled = options.get("disable_passes") or []
        options["disable_passes"] = [*(disabled.split(",") if isinstance(disabled, str) else disabled), "nhwc_layout"]
    if not settings["use_threads"]:
        options.setdefault("variants", ["baseline", "relaxed"])
    return options


def _bounds(spec: Any) -> list[str]:
    """Bounds of named dimensions, for a model that has them already."""
    from . import _torch

    return _torch.dynamic(spec, []).dims() if spec is not None else []


def _compile(source: Any, output: Path, options: Mapping[str, Any], settings: Mapping[str, Any], folder: Path, say: Any) -> ExportReport:
    import json

    options = _quantize.options(options, settings, source, folder)
    try:
        details = json.loads(_native.export_model(source, output, _options.to_json(options, folder), say))
    except OptionError as error:
        raise error if settings["quantization"] is None else _quantize.refused(error) from None
    return ExportReport(output, details, quantization=details.get("quantize"), warnings=list(details["warnings"]))


def _from_torch(
    model: Any,
    settings: Mapping[str, Any],
    options: Mapping[str, Any],
    exporter: str,
    opset_version: Optional[int],
    output: Path,
    folder: Path,
    say: Callable[[str], object],
) -> tuple[ExportReport, Path]:
    """Tries the exporters in turn; the second one's report says why it was needed."""
    from . import _torch

    example = None if settings["example_input"] is None else _torch.example(settings["example_input"])
    if example is None and not is_torch(model, "export.ExportedProgram"):
        raise TypeError("a torch model needs example_input: what its forward() takes")
    names = _torch.arguments(model, example) if example else []
    dynamic = _torch.dynamic(settings["dynamic_shapes"], names)
    keywords = {} if opset_version is None else {"opset_version": opset_version}
    errors: dict[str, BaseException] = {}
    for name in _torch.EXPORTERS if exporter == "auto" else [exporter]:
        path = folder / f"{output.stem}.{name}.onnx"
        say(f"exporting with PyTorch ({name})")
        try:
            _torch.export(name, model, example, path, dynamic, keywords)
        except Exception as error:
            errors[name] = error
            continue
        try:
            report = _compile(path, output, {**options, "dims": [*_options.dims(options.get("dims") or []), *dynamic.dims()]}, settings, folder, say)
        except ExportError as error:
            errors[name] = error
            continue
        report.exporter = name
        report.warnings += [f"the {other} exporter was not used: {_torch.reason(error)}" for other, error in errors.items()]
        return report, path
    for found in errors.values():
        # What the compiler says of the model is worth more than that an exporter failed.
        if isinstance(found, ExportError):
            raise found
    raise _torch.failed(errors) from next(iter(errors.values()))


def _verify(
    model: Any, source: Any, settings: Mapping[str, Any], options: Mapping[str, Any], report: ExportReport, tolerance: float, folder: Path
) -> Optional[Verification]:
    """Compares the module with the model on the example input."""
    import numpy as np

    from ._arrays import to_numpy
    from ._module import Module

    module = Module(report.path, cache=False)
    given = settings["example_input"]
    if _sources.is_torch_model(model):
        from . import _torch

        example = _torch.example(given)
        arrays, names = _torch.arrays(example), _torch.arguments(model, example)
        expected, against = _torch.outputs(model, example), "torch"
        inputs: Any = arrays
        if len(arrays) != len(module.inputs):
            named = dict(zip(names, arrays))
            inputs = {port.name: named[port.name] for port in module.inputs if port.name in named}
    else:
        if isinstance(given, Mapping):
            inputs = {name: to_numpy(value) for name, value in given.items()}
        else:
            inputs = [to_numpy(value) for value in (given if isinstance(given, (tuple, list)) else [given])]
        from .backend import evaluate_onnx

        expected, against = evaluate_onnx(source, inputs, _options.to_json({"dims": options.get("dims"), "bind": options.get("bind")}, folder))
    count = len(inputs)
    if count != len(module.inputs):
        report.warnings.append(f"not verified: the module has {len(module.inputs)} inputs, the example {count}")
        return None
    found = list((module.run(inputs) if isinstance(inputs, Mapping) else module.run(*inputs)).values())
    if len(found) != len(expected):
        report.warnings.append(f"not verified: the module has {len(found)} outputs, the model {len(expected)}")
        return None
    rows: list[dict[str, Any]] = []
    for port, want, have in zip(module.outputs, expected, found):
        if want.shape != have.shape:
            rows.append({"name": port.name, "max_abs": float("inf"), "max_rel": float("inf")})
            continue
        e, f = want.astype(np.float64), have.astype(np.float64)
        same = (e == f) | (np.isnan(e) & np.isnan(f))
        with np.errstate(invalid="ignore"):
            difference = np.where(same, 0.0, np.abs(e - f))
        error = float(np.max(np.nan_to_num(difference, nan=np.inf), initial=0.0))
        largest = float(np.max(np.abs(e[np.isfinite(e)]), initial=0.0))
        rows.append({"name": port.name, "max_abs": error, "max_rel": error / largest if error and largest else error})
    worst = max((row["max_rel"] for row in rows), default=0.0)
    result = Verification(worst <= tolerance, max((row["max_abs"] for row in rows), default=0.0), worst, tolerance, against, rows)
    if not result.ok:
        report.warnings.append(f"the module differs from {against} by {worst:.1e} of the largest output; {tolerance:.1e} was allowed")
    return result


def _check_size(report: ExportReport, target_size_mb: Optional[float]) -> None:
    if target_size_mb is not None and report.size_mb > target_size_mb:
        hint = "quantization='dynamic' stores weights in a quarter of the bytes"
        report.warnings.append(f"the module has {report.size_mb:.2f} MB, more than the {target_size_mb} MB that were asked for; {hint}")


class _Progress:
    """Where the names of stages go: a function, or one line of a terminal."""

    def __init__(self, progress: Progress) -> None:
        self._call = progress if callable(progress) else None
        self._terminal = progress is True and sys.stderr.isatty()

    def __call__(self, stage: str) -> None:
        if self._call is not None:
            self._call(stage)
        elif self._terminal:
            sys.stderr.write(f"\r\x1b[K{stage}")
            sys.stderr.flush()

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._terminal:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def inspect(source: Union[Path, bytes], options: Mapping[str, Any]) -> dict[str, Any]:
    """What is in an ONNX model."""
    import json

    with tempfile.TemporaryDirectory(prefix="wasm-torch-") as folder:
        info: dict[str, Any] = json.loads(_native.inspect_model(source, _options.to_json(options, Path(folder))))
    return info


def as_list(value: Union[str, Sequence[str]]) -> list[str]:
    """One name, or several."""
    return [value] if isinstance(value, str) else list(value)
