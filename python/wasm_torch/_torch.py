"""PyTorch models as ONNX files: the dynamo exporter, or the legacy one where that fails. Only this file needs torch."""

from __future__ import annotations

import contextlib
import inspect
import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Optional

from ._arrays import Array, to_numpy
from .errors import TorchExportError

#: The exporters in the order in which they are tried.
EXPORTERS = ("dynamo", "legacy")
LEGACY_OPSET = 17


class Example(NamedTuple):
    """Example inputs as `forward` takes them."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Dynamic(NamedTuple):
    """Dimensions that stay free."""

    #: By argument: axis to name.
    axes: dict[str, dict[int, str]]
    #: By name: smallest and largest size.
    bounds: dict[str, tuple[Optional[int], Optional[int]]]

    def dims(self) -> list[str]:
        """As the compiler's `dims`."""
        return [f"{name}={1 if low is None else low}..{high}" for name, (low, high) in self.bounds.items() if high is not None]


def example(value: Any) -> Example:
    """Example inputs from a tensor, an array, a tuple of them, or a mapping of arguments to them."""
    if isinstance(value, Mapping):
        return Example((), {name: _tensor(item) for name, item in value.items()})
    if isinstance(value, (tuple, list)):
        return Example(tuple(_tensor(item) for item in value), {})
    return Example((_tensor(value),), {})


def _tensor(value: Any) -> Any:
    import numpy as np
    import torch

    if isinstance(value, np.ndarray):
        return torch.from_numpy(value)
    if isinstance(value, (tuple, list)):
        return type(value)(_tensor(item) for item in value)
    return value


def arrays(example: Example) -> list[Array]:
    """The tensors of an example in order, as arrays."""
    import torch
    from torch.utils import _pytree

    leaves = _pytree.tree_flatten((example.args, example.kwargs))[0]
    return [to_numpy(leaf) for leaf in leaves if isinstance(leaf, torch.Tensor)]


def outputs(model: Any, example: Example) -> list[Array]:
    """What the model computes, flat and in order.

    The module is in evaluation mode meanwhile.
    """
    import torch
    from torch.utils import _pytree

    run = model.module() if isinstance(model, torch.export.ExportedProgram) else model
    with _evaluating(run), torch.no_grad(), _quiet():
        result = run(*example.args, **example.kwargs)
    return [to_numpy(leaf) for leaf in _pytree.tree_flatten(result)[0] if isinstance(leaf, torch.Tensor)]


@contextlib.contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    """In evaluation mode, each submodule as it was afterwards."""
    import torch

    if isinstance(model, torch.fx.GraphModule) or not isinstance(model, torch.nn.Module):
        yield
        return
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporters say to their own developers."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)


def arguments(model: Any, example: Example) -> list[str]:
    """Names of the arguments that the example gives, in order."""
    forward = getattr(model, "forward", model)
    try:
        names = [p.name for p in inspect.signature(forward).parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    except (TypeError, ValueError):
        names = []
    names = names[: len(example.args)]
    names += [f"input_{index}" for index in range(len(names), len(example.args))]
    return names + list(example.kwargs)


def dynamic(spec: Any, names: Sequence[str]) -> Dynamic:
    """Free dimensions from any of their spellings.

    `{"input": {1: "seq"}}`, `{"input": {1: ("seq", 1, 512)}}`, `{"input": {1: torch.export.Dim("seq", min=1, max=512)}}`, a
    sequence of such axes, one per argument, and `{"seq": (1, 512)}`, which bounds a name.
    """
    result = Dynamic({}, {})
    if spec is None:
        return result
    if not isinstance(spec, Mapping):
        spec = dict(zip(names, spec))
    for key, value in spec.items():
        if value is None:
            continue
        if isinstance(value, Mapping):
            for axis, dim in value.items():
                if names and key not in names:
                    raise TypeError(f"dynamic_shapes names {key!r}, but the arguments are: {', '.join(names)}")
                if dim is not None:
                    name, low, high = _dim(dim, f"{key}_{axis}")
                    result.axes.setdefault(key, {})[int(axis)] = name
                    if name not in result.bounds or high is not None:
                        result.bounds[name] = (low, high)
        elif isinstance(value, (tuple, list)) and len(value) == 2 and all(isinstance(size, int) for size in value):
            result.bounds[key] = (value[0], value[1])
        else:
            raise TypeError(f"dynamic_shapes[{key!r}] is {value!r}; expected axes ({{1: 'seq'}}) or bounds ((1, 512))")
    return result


def _dim(dim: Any, default: str) -> tuple[str, Optional[int], Optional[int]]:
    if isinstance(dim, str):
        return dim, None, None
    if isinstance(dim, (tuple, list)):
        if len(dim) == 3 and isinstance(dim[0], str):
            return dim[0], int(dim[1]), int(dim[2])
        if len(dim) == 2 and all(isinstance(size, int) for size in dim):
            return default, dim[0], dim[1]
    name = getattr(dim, "__name__", None)
    if name is None:
        raise TypeError(f"{dim!r} is no dimension; expected a name, (name, low, high) or torch.export.Dim")
    high = getattr(dim, "max", None)
    return name, getattr(dim, "min", None), high if isinstance(high, int) and high < 2**31 else None


def export(
    exporter: str, model: Any, example: Optional[Example], path: Path, dynamic: Dynamic, keywords: Mapping[str, Any]
) -> None:
    """Writes `model` to `path` with one of `EXPORTERS`.

    Raises:
        Exception: Whatever the exporter raises.
    """
    import torch

    with _evaluating(model), torch.no_grad(), _quiet():
        if isinstance(model, torch.export.ExportedProgram):
            if exporter != "dynamo":
                raise TypeError("the legacy exporter takes no ExportedProgram")
            torch.onnx.export(model, (), str(path), dynamo=True, external_data=False, verbose=False, **keywords)
            return
        if example is None:
            raise TypeError("a torch model needs example_input: what its forward() takes")
        names = arguments(model, example)
        if exporter == "dynamo":
            shapes = None
            if dynamic.axes:
                made = {name: _torch_dim(name, dynamic.bounds.get(name, (None, None))) for axes in dynamic.axes.values() for name in axes.values()}
                shapes = {name: {axis: made[dim] for axis, dim in dynamic.axes[name].items()} if name in dynamic.axes else None for name in names}
            torch.onnx.export(
                model, example.args, str(path), kwargs=example.kwargs or None, dynamo=True, external_data=False,
                dynamic_shapes=shapes, verbose=False, **keywords,
            )  # fmt: skip
        else:
            keywords = {"opset_version": LEGACY_OPSET, "input_names": names, **keywords}
            torch.onnx.export(
                model, example.args, str(path), kwargs=example.kwargs or None, dynamo=False,
                dynamic_axes={name: dict(axes) for name, axes in dynamic.axes.items()} or None, **keywords,
            )  # fmt: skip


def _torch_dim(name: str, bounds: tuple[Optional[int], Optional[int]]) -> Any:
    import torch

    low, high = bounds
    given = {key: size for key, size in (("min", low), ("max", high)) if size is not None}
    return torch.export.Dim(name, **given)


def reason(error: BaseException) -> str:
    """One line on why an exporter failed."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


def failed(errors: Mapping[str, BaseException]) -> TorchExportError:
    """The error where no exporter succeeded."""
    reasons = {name: reason(error) for name, error in errors.items()}
    text = "PyTorch cannot export the model:" + "".join(f"\n  {name}: {why}" for name, why in reasons.items())
    return TorchExportError(text, json.dumps({"reasons": reasons}))
