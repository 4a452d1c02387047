"""What can go wrong, as exceptions. Each also is the builtin exception that a caller would expect.

Problems with files are the builtin `OSError`s (`FileNotFoundError`, `PermissionError`, …), wrong Python types `TypeError`.
"""

from __future__ import annotations

import json
from typing import Any


class WasmTorchError(Exception):
    """Any error of this package.

    Attributes:
        message: The whole text; lines that begin with `hint:` say what to do.
        details: What is known besides, e.g. `problems`: one entry per layer with `layer`, `operator`, `sentence`, `hint`.
    """

    def __init__(self, message: str, details: str = "{}") -> None:
        super().__init__(message, details)
        self.message = message
        self.details: dict[str, Any] = json.loads(details)

    def __str__(self) -> str:
        return self.message

    @property
    def hint(self) -> str | None:
        """What to do, if that is known."""
        lines = [line.strip() for line in self.message.splitlines()]
        hints = [line[len("hint:") :].strip() for line in lines if line.startswith("hint:")]
        return "\n".join(hints) or None

    @property
    def layers(self) -> list[str]:
        """The layers in question, as PyTorch named them."""
        named = [problem.get("layer") for problem in self.details.get("problems", [])]
        return list(dict.fromkeys(name for name in [*named, *self.details.get("layers", [])] if name))


class ExportError(WasmTorchError):
    """A model could not be compiled."""


class InvalidModelError(ExportError, ValueError):
    """The bytes are not an ONNX model, or one that breaks the rules of ONNX."""


class UnsupportedOperatorError(ExportError, NotImplementedError):
    """The model is fine, but uses what the compiler does not know; `operators` lists it."""

    @property
    def operators(self) -> list[str]:
        """Names of the operators, each once."""
        return list(dict.fromkeys(self.details.get("operators", [])))


class TorchExportError(ExportError):
    """No exporter of PyTorch could write the model; `reasons` says why, by exporter."""

    @property
    def reasons(self) -> dict[str, str]:
        """The first line of each exporter's error."""
        return dict(self.details.get("reasons", {}))


class OptionError(WasmTorchError, ValueError):
    """An option does not exist, has no such value or does not fit the model."""


class ShapeError(WasmTorchError, ValueError):
    """Shapes, element types or names of arrays do not fit; or a dimension has no size."""

    @property
    def dims(self) -> list[str]:
        """Dimensions without a size."""
        return list(self.details.get("dims", []))


class QuantizationError(WasmTorchError, ValueError):
    """A model cannot be quantised as asked."""


class ModuleError(WasmTorchError, RuntimeError):
    """A module cannot be loaded, or failed while it ran; `layers` says where."""


class ModuleTimeoutError(ModuleError, TimeoutError):
    """A run took longer than its limit and was stopped. The module can be called again."""


class MemoryLimitError(ModuleError, MemoryError):
    """A module needs more memory than its limit."""


class BackendError(WasmTorchError, RuntimeError):
    """No backend could run a model; `reasons` says why, by backend."""

    @property
    def reasons(self) -> dict[str, str]:
        """The error of each backend that was tried."""
        return dict(self.details.get("reasons", {}))


class InternalError(WasmTorchError):
    """A bug of the compiler."""
