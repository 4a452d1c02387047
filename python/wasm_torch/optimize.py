"""Models with wishes: what `export_to_wasm` is to do with a model, decided step by step.

>>> from wasm_torch import optimize
>>> small = optimize.quantize_for_wasm(optimize.optimize_for_browser("model.onnx"), "dynamic")
>>> small.settings["quantization"], small.options["precompress"]
('dynamic', True)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional, Union

from . import _options, _quantize, _sources
from ._arrays import is_torch
from .errors import QuantizationError

__all__ = ["OptimizedModel", "get_optimization_info", "optimize_for_browser", "quantize_for_wasm"]


@dataclass(frozen=True)
class OptimizedModel:
    """A model and how it is to be exported. `export_to_wasm` takes it like the model itself.

    Attributes:
        model: What was given, unchanged.
        settings: Keywords of `export_to_wasm`.
        options: Options of the compiler.
    """

    model: Any
    settings: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    def with_wishes(self, settings: Mapping[str, Any], options: Mapping[str, Any]) -> OptimizedModel:
        """The same model with further wishes; later ones win."""
        return OptimizedModel(self.model, {**self.settings, **settings}, {**self.options, **options})

    def applied(
        self, settings: Mapping[str, Any], defaults: Mapping[str, Any], options: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Keywords of one export: what the call says other than by default wins."""
        said = {name: value for name, value in settings.items() if value is not defaults[name]}
        return {**defaults, **self.settings, **said}, {**self.options, **options}

    def __repr__(self) -> str:
        wishes = ", ".join(f"{name}={_shown(value)}" for name, value in {**self.settings, **self.options}.items())
        return f"<OptimizedModel {_shown(self.model)}: {wishes}>"


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, (str, int, float, list, tuple)) else type(value).__name__


def _optimized(model: Any) -> OptimizedModel:
    return model if isinstance(model, OptimizedModel) else OptimizedModel(model)


def optimize_for_browser(
    model: Any, optimization_passes: Optional[Union[str, Sequence[str]]] = None, target_size_mb: Optional[float] = None
) -> OptimizedModel:
    """Wishes for a page: every variant of the code, compressed copies beside the file.

    Args:
        model: As for `export_to_wasm`, or an `OptimizedModel`.
        optimization_passes: Run these passes only, e.g. `["constant_folding", "fuse_conv_bn_relu", "nhwc_layout"]`;
            by default all of the level. `get_optimization_info` lists them.
        target_size_mb: Largest file in MB (10^6 bytes).

    Raises:
        OptionError: There is no such pass.
    """
    options: dict[str, Any] = {"precompress": True}
    settings: dict[str, Any] = {}
    if optimization_passes is not None:
        passes = [optimization_passes] if isinstance(optimization_passes, str) else list(optimization_passes)
        _options.check_passes({"passes": passes})
        options["passes"] = passes
    if target_size_mb is not None:
        settings["target_size_mb"] = target_size_mb
    return _optimized(model).with_wishes(settings, options)


def quantize_for_wasm(
    model: Any,
    quantization_type: str = "dynamic",
    calibration_data: Any = None,
    preserve_accuracy: bool = True,
    target_accuracy: Optional[float] = None,
) -> OptimizedModel:
    """Wishes for a model in 8-bit integers.

    Args:
        model: As for `export_to_wasm`, or an `OptimizedModel`.
        quantization_type: `dynamic` measures the activations' ranges at run time, `static` on `calibration_data`, `mixed` as
            `static`, leaving layers that suffer in floating point.
        calibration_data: Inputs of the model: an array (a batch, or one input each along its first axis), an iterable of
            inputs, or a torch `DataLoader`, which is read as a stream; of a pair `(input, label)` the label is ignored.
        preserve_accuracy: With `static` and a `target_accuracy`: leave layers in floating point that the target takes.
        target_accuracy: Agreement with the unquantised model that must be kept, from 0 to 1.

    Raises:
        QuantizationError: (a `ValueError`) There is no such type, or `static` has no data.
    """
    _quantize.check(quantization_type, calibration_data)
    if target_accuracy is not None and not 0 <= target_accuracy <= 1:
        raise QuantizationError(f"target_accuracy is {target_accuracy!r}; give a number from 0 to 1")
    settings: dict[str, Any] = {"quantization": quantization_type, "preserve_accuracy": preserve_accuracy}
    if calibration_data is not None:
        settings["calibration_data"] = calibration_data
    if target_accuracy is not None:
        settings["target_accuracy"] = target_accuracy
    return _optimized(model).with_wishes(settings, {})


def get_optimization_info(model: Any) -> dict[str, Any]:
    """What is known about a model before its export.

    Returns:
        `parameters` (count) and `parameter_bytes`; for an ONNX model also `operators` (name → count), `macs`, `inputs`,
        `outputs`, `problems` (everything that would not export) and `warnings`; for a torch module `layers` (class → count).
        `passes` lists the compiler's passes (`name`, `summary`, `level`), `wishes` what was decided so far.
    """
    optimized = _optimized(model)
    model = optimized.model
    source = _sources.onnx(model)
    info: dict[str, Any] = {"passes": _options.pipeline(), "wishes": {**optimized.settings, **optimized.options}}
    if source is not None:
        from ._export import inspect

        found = inspect(source, {"dims": optimized.options.get("dims"), "bind": optimized.options.get("bind")})
        found["operators"] = dict(found["operators"])
        return {**found, "parameter_bytes": 4 * found["parameters"], **info}
    if is_torch(model, "export.ExportedProgram"):
        tensors, modules = list(model.state_dict.values()), []
    else:
        tensors, modules = list(model.parameters()), [module for module in model.modules() if not list(module.children())]
    layers: dict[str, int] = {}
    for module in modules:
        name = type(module).__name__
        layers[name] = layers.get(name, 0) + 1
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    return {"parameters": sum(tensor.numel() for tensor in tensors), "parameter_bytes": size, "layers": layers, **info}
