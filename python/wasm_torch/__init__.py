"""wasm-torch: PyTorch and ONNX models as one self-contained SIMD WebAssembly module.

>>> import wasm_torch
>>> report = wasm_torch.export_to_wasm(model, "model.wasm", example)   # doctest: +SKIP
>>> module = wasm_torch.load("model.wasm")                             # doctest: +SKIP
>>> logits = module(example)                                           # doctest: +SKIP

Everything public is listed in `__all__`. Nothing is imported before it is used: NumPy with the first export or module,
torch with the first `torch.nn.Module`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import benchmarks as benchmarks
    from . import errors as errors
    from . import optimize as optimize
    from ._export import export_to_wasm as export_to_wasm
    from ._module import Module as Module
    from ._module import Port as Port
    from ._module import load as load
    from ._report import ExportReport as ExportReport
    from ._report import Verification as Verification
    from .backend import Backend as Backend
    from .backend import BackendSelector as BackendSelector
    from .errors import BackendError as BackendError
    from .errors import ExportError as ExportError
    from .errors import InternalError as InternalError
    from .errors import InvalidModelError as InvalidModelError
    from .errors import MemoryLimitError as MemoryLimitError
    from .errors import ModuleError as ModuleError
    from .errors import ModuleTimeoutError as ModuleTimeoutError
    from .errors import OptionError as OptionError
    from .errors import QuantizationError as QuantizationError
    from .errors import ShapeError as ShapeError
    from .errors import TorchExportError as TorchExportError
    from .errors import UnsupportedOperatorError as UnsupportedOperatorError
    from .errors import WasmTorchError as WasmTorchError
    from .runtime import WASMRuntime as WASMRuntime

    __version__: str

#: Where each public name is defined.
_HOMES = {
    "_export": ["export_to_wasm"],
    "_module": ["load", "Module", "Port"],
    "_report": ["ExportReport", "Verification"],
    "runtime": ["WASMRuntime"],
    "backend": ["Backend", "BackendSelector"],
    "errors": [
        "WasmTorchError",
        "ExportError",
        "InvalidModelError",
        "UnsupportedOperatorError",
        "TorchExportError",
        "OptionError",
        "ShapeError",
        "QuantizationError",
        "ModuleError",
        "ModuleTimeoutError",
        "MemoryLimitError",
        "BackendError",
        "InternalError",
    ],
    "_native": ["__version__"],
}
_MODULES = ["backend", "benchmarks", "errors", "optimize", "runtime"]
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [*_HOME_OF, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f".{name}", __name__)
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME_OF[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
