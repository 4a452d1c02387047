"""Quantisation as options of the compiler, and calibration data of any kind as files that it reads."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Optional, Union

from . import _options
from .errors import OptionError, QuantizationError, WasmTorchError

#: What may be asked for, and what the compiler calls it.
TYPES = {"dynamic": "int8-dynamic", "static": "int8-static", "mixed": "mixed"}


def check(quantization: Optional[str], calibration_data: Any) -> None:
    """Raises for what cannot be meant.

    Raises:
        QuantizationError: There is no such type, or `static` has no data.
    """
    if quantization is None:
        return
    if quantization not in TYPES and quantization not in TYPES.values():
        raise QuantizationError(f"there is no quantization {quantization!r}\nhint: give one of {', '.join(TYPES)}")
    if quantization not in ("dynamic", "int8-dynamic") and calibration_data is None:
        sentence = f"{quantization} quantization measures ranges on calibration_data, which is missing"
        raise QuantizationError(f"{sentence}\nhint: give some inputs, or quantization='dynamic'")


def options(given: Mapping[str, Any], settings: Mapping[str, Any], source: Union[Path, bytes], folder: Path) -> dict[str, Any]:
    """The compiler's options with quantisation in them. Calibration data goes to files in `folder`, one batch at a time."""
    quantization, data = settings["quantization"], settings["calibration_data"]
    result = dict(given)
    check(quantization, data)
    if quantization is None:
        if data is not None:
            raise QuantizationError("calibration_data has an effect with quantization only\nhint: add quantization='static'")
        return result
    if "quantize" not in _options.known():
        raise QuantizationError("this build of the compiler does not quantise\nhint: install a newer wasm-torch")
    target = settings["target_accuracy"]
    if quantization == "static" and target is not None and settings["preserve_accuracy"]:
        # Whatever the target takes stays in floating point.
        quantization = "mixed"
    result["quantize"] = TYPES.get(quantization, quantization)
    if data is not None:
        result["calibrate"] = str(data) if isinstance(data, (str, Path)) else str(_written(data, _inputs(source, given), folder))
    if target is not None:
        result["target_accuracy"] = target
    if settings["target_size_mb"] is not None:
        result["target_size_mb"] = settings["target_size_mb"]
    return result


def refused(error: OptionError) -> WasmTorchError:
    """The compiler's objection to quantisation as `QuantizationError`; another objection as it is."""
    about = any(word in error.message for word in ("quantis", "calibrat", "accuracy", "sample", "ranges"))
    return QuantizationError(error.message) if about else error


def _inputs(source: Union[Path, bytes], given: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Names and ranks of the model's inputs."""
    from ._export import inspect

    bound = [text.rsplit("=", 1)[0] for text in given.get("bind") or []]
    ports = inspect(source, {"dims": given.get("dims")})["inputs"]
    return [(port["name"], len(port["shape"])) for port in ports if port["name"] not in bound]


def _written(data: Any, inputs: list[tuple[str, int]], folder: Path) -> Path:
    """A folder with one file for each batch."""
    import numpy as np

    target = folder / "calibration"
    target.mkdir(exist_ok=True)
    count = 0
    for count, batch in enumerate(_batches(data, inputs), 1):
        np.savez(target / f"{count:08}.npz", **batch)
    if count == 0:
        raise QuantizationError("calibration_data is empty\nhint: give some inputs of the model")
    return target


def _batches(data: Any, inputs: list[tuple[str, int]]) -> Iterator[dict[str, Any]]:
    """Arrays by the inputs' names: one mapping for each batch of the data."""
    from ._arrays import Array, is_torch

    if isinstance(data, Mapping) or hasattr(data, "__array__") or is_torch(data, "Tensor"):
        data = [data]
    if not isinstance(data, Iterable):
        raise TypeError(f"calibration_data is a {type(data).__name__}; expected arrays, tensors or an iterable of them")
    for item in data:
        if isinstance(item, Mapping):
            missing = [name for name, _ in inputs if name not in item]
            if missing:
                raise QuantizationError(f"calibration_data has no array for the input {missing[0]!r}\nhint: it has: {', '.join(map(str, item))}")
            values = [item[name] for name, _ in inputs]
        elif isinstance(item, (tuple, list)) and not isinstance(item[0] if item else None, (int, float)):
            # What a DataLoader gives besides the inputs are labels.
            values = list(itertools.islice(item, len(inputs)))
            if len(values) < len(inputs):
                raise QuantizationError(f"calibration_data gives {len(values)} arrays at a time; the model has {len(inputs)} inputs")
        else:
            values = [item]
        batch: dict[str, Array] = {}
        for (name, rank), value in zip(inputs, values):
            batch[name] = _batch(value, rank)
        yield batch


def _batch(value: Any, rank: int) -> Any:
    import numpy as np

    from ._arrays import to_numpy

    array = to_numpy(value)
    if array.dtype == np.float64:
        # Python's numbers; the compiler names every other misfit.
        array = array.astype(np.float32)
    return array[None] if array.ndim == rank - 1 else array
