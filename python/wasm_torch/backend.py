"""Where a model runs: on the emitted module, on onnxruntime, or by the compiler's own definition of every operator."""

from __future__ import annotations

import enum
import hashlib
import importlib.util
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional, Union

from . import _native, _options, _sources
from ._arrays import Array, dtype_of, name_of, to_numpy
from ._module import Module
from .errors import BackendError

__all__ = ["Backend", "BackendSelector"]


class Backend(enum.Enum):
    """What can run a model."""

    #: The best that works.
    AUTO = "auto"
    #: The emitted module.
    WASM = "wasm"
    #: The package onnxruntime, if it is installed.
    ONNXRUNTIME = "onnxruntime"
    #: The model's definition, evaluated operator by operator: slow and exact.
    REFERENCE = "reference"


_ORDER = (Backend.WASM, Backend.ONNXRUNTIME, Backend.REFERENCE)


class BackendSelector:
    """Runs models on the preferred backend, or on the next one that can.

    Args:
        prefer: The backend to try first; the others follow in the order wasm, onnxruntime, reference.
        threads, memory_limit_mb, timeout_seconds: Of modules; see `wasm_torch.load`. A limit that is reached raises, it is no
            reason for another backend.
        fallback: Whether other backends are tried at all.
        options: Of exports; see `wasm_torch.export_to_wasm`.
    """

    def __init__(
        self,
        prefer: Backend = Backend.AUTO,
        *,
        threads: int = 1,
        memory_limit_mb: Optional[float] = None,
        timeout_seconds: Optional[float] = None,
        fallback: bool = True,
        **options: Any,
    ) -> None:
        self.prefer = Backend(prefer)
        self._fallback = fallback
        self._settings: dict[str, Any] = {"threads": threads, "memory_limit_mb": memory_limit_mb, "timeout_seconds": timeout_seconds}
        self._options = options
        self._runners: dict[tuple[Any, Backend], Any] = {}
        self._kept: dict[Any, Any] = {}
        self._statistics = {backend: {"calls": 0, "failures": 0, "seconds": 0.0} for backend in _ORDER}
        self._last: Optional[Backend] = None
        self._reasons: dict[str, str] = {}

    def order(self) -> list[Backend]:
        """The backends in the order in which they are tried."""
        first = [] if self.prefer is Backend.AUTO else [self.prefer]
        rest = [backend for backend in _ORDER if backend not in first] if self._fallback or not first else []
        return first + rest

    def is_wasm_available(self) -> bool:
        """Whether modules can be made and run here: a small one is."""
        import numpy as np

        try:
            x = np.array([-1.0, 2.0], np.float32)
            return bool((self._run(Backend.WASM, "Relu", (x,), {}) == [0.0, 2.0]).all())
        except Exception as error:
            self._reasons[Backend.WASM.value] = f"{type(error).__name__}: {error}"
            return False

    def preload(self, model: Any, *example: Any) -> Backend:
        """Makes a model ready to run; gives the backend that will run it.

        Raises:
            BackendError: None can.
        """
        for backend in self.order():
            try:
                self._runner(backend, model, example, {})
                return backend
            except TypeError:
                raise
            except Exception as error:
                self._reasons[backend.value] = f"{type(error).__name__}: {error}"
        raise self._none()

    def call_function(self, model_or_operator: Any, *args: Any, **attributes: Any) -> Any:
        """Runs a model, or one ONNX operator by its name, e.g. `call_function("Softmax", x, axis=-1)`.

        Returns:
            The output, or a tuple of them.

        Raises:
            BackendError: No backend can run it; `reasons` says why.
            TypeError: It is no model.
        """
        from .errors import MemoryLimitError, ModuleTimeoutError, ShapeError

        self._reasons = {}
        for backend in self.order():
            counts = self._statistics[backend]
            start = time.perf_counter()
            try:
                result = self._run(backend, model_or_operator, args, attributes)
            except (TypeError, MemoryLimitError, ModuleTimeoutError, FileNotFoundError):
                counts["failures"] += 1
                raise
            except Exception as error:
                counts["failures"] += 1
                if isinstance(error, ShapeError) and self._ready(backend, model_or_operator, args, attributes):
                    # The model is fine, what it was given is not.
                    raise
                self._reasons[backend.value] = f"{type(error).__name__}: {error}"
                continue
            counts["calls"] += 1
            counts["seconds"] += time.perf_counter() - start
            self._last = backend
            return result
        raise self._none()

    def get_status(self) -> dict[str, Any]:
        """`prefer`, `order`, `available` (by backend), `last` (what ran the last call), and `reasons` why others did not."""
        available = {"wasm": True, "onnxruntime": importlib.util.find_spec("onnxruntime") is not None, "reference": True}
        last = None if self._last is None else self._last.value
        return {
            "prefer": self.prefer.value, "order": [backend.value for backend in self.order()], "available": available,
            "last": last, "reasons": dict(self._reasons), "settings": dict(self._settings),
        }  # fmt: skip

    def get_statistics(self) -> dict[str, dict[str, float]]:
        """By backend: `calls`, `failures`, `seconds`, `mean_ms`."""
        return {
            backend.value: {**counts, "mean_ms": 1e3 * counts["seconds"] / counts["calls"] if counts["calls"] else 0.0}
            for backend, counts in self._statistics.items()
        }

    def _none(self) -> BackendError:
        lines = "".join(f"\n  {name}: {reason.splitlines()[0]}" for name, reason in self._reasons.items())
        return BackendError(f"no backend can run this:{lines}", json.dumps({"reasons": self._reasons}))

    def _run(self, backend: Backend, model: Any, args: tuple[Any, ...], attributes: Mapping[str, Any]) -> Any:
        runner = self._runner(backend, model, args, attributes)
        outputs = runner([to_numpy(value) for value in args])
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def _ready(self, backend: Backend, model: Any, args: tuple[Any, ...], attributes: Mapping[str, Any]) -> bool:
        return (self._key(model, args, attributes), backend) in self._runners

    def _key(self, model: Any, args: tuple[Any, ...], attributes: Mapping[str, Any]) -> Any:
        if _is_operator(model):
            return model, tuple((name_of(to_numpy(a).dtype), to_numpy(a).shape) for a in args), repr(sorted(attributes.items()))
        if isinstance(model, bytes):
            return hashlib.sha256(model).digest()
        # Held on to, so that its identity stays its own.
        self._kept[id(model)] = model
        return str(model) if isinstance(model, (str, Path)) else id(model)

    def _runner(self, backend: Backend, model: Any, args: tuple[Any, ...], attributes: Mapping[str, Any]) -> Any:
        """A function of a list of arrays that gives a list of arrays."""
        key = (self._key(model, args, attributes), backend)
        if key not in self._runners:
            if _is_operator(model):
                from . import _operator

                model = _operator.model(model, [to_numpy(value) for value in args], attributes)
            elif attributes:
                raise TypeError("attributes belong to operators, not to models")
            self._runners[key] = self._made(backend, model, args)
        return self._runners[key]

    def _made(self, backend: Backend, model: Any, args: tuple[Any, ...]) -> Any:
        if isinstance(model, Module) or isinstance(model, (str, Path)) and str(model).endswith(".wasm"):
            if backend is not Backend.WASM:
                raise BackendError("this is a module, which only wasm runs")
            module = model if isinstance(model, Module) else Module(model, **self._settings)
            return lambda arrays: list(module.run(*arrays).values())
        with tempfile.TemporaryDirectory(prefix="wasm-torch-") as folder:
            if backend is Backend.WASM:
                from ._export import export_to_wasm

                path = Path(folder) / "model.wasm"
                export_to_wasm(model, path, tuple(args) or None, **{"verify": False, "progress": False, **self._options})
                module = Module(path.read_bytes(), **self._settings)
                return lambda arrays: list(module.run(*arrays).values())
            source = _sources.onnx(getattr(model, "model", model) if hasattr(model, "applied") else model)
            if source is None:
                from . import _torch

                source = Path(folder) / "model.onnx"
                example = _torch.example(tuple(args)) if args else None
                _torch.export("dynamo", model, example, source, _torch.dynamic(None, []), {})
                source = source.read_bytes()
            options = {name: value for name, value in self._options.items() if name in ("dims", "bind")}
            options_json = _options.to_json(options, Path(folder))
            return onnxruntime(source) if backend is Backend.ONNXRUNTIME else reference(source, options_json)


def _is_operator(model: Any) -> bool:
    return isinstance(model, str) and model.isidentifier()


def onnxruntime(source: Union[Path, bytes]) -> Any:
    """A function of the model's inputs that onnxruntime computes."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(source if isinstance(source, bytes) else str(source), options, providers=["CPUExecutionProvider"])
    names = [port.name for port in session.get_inputs()]

    def run(inputs: Union[Sequence[Array], Mapping[str, Array]]) -> list[Array]:
        given = inputs if isinstance(inputs, Mapping) else dict(zip(names, inputs))
        return [to_numpy(array) for array in session.run(None, {name: given[name] for name in names if name in given})]

    return run


def reference(source: Union[Path, bytes], options_json: str = "{}") -> Any:
    """A function of the model's inputs that its definition computes."""
    import numpy as np

    model = _native.Reference(source, options_json)
    ports = model.inputs()

    def run(inputs: Union[Sequence[Array], Mapping[str, Array]]) -> list[Array]:
        given = inputs if isinstance(inputs, Mapping) else {port[0]: array for port, array in zip(ports, inputs)}
        described: list[tuple[str, str, list[int], bytes]] = []
        for name, element, _ in ports:
            if name not in given:
                raise TypeError(f"the input {name!r} is missing")
            array = np.ascontiguousarray(to_numpy(given[name], dtype_of(element))).reshape(np.shape(given[name]))
            found = element if array.dtype == dtype_of(element) else name_of(array.dtype)
            described.append((name, found, list(array.shape), array.tobytes()))
        return [
            np.frombuffer(data, dtype_of(element)).reshape(shape).copy() for _, element, shape, data in model.run(described)
        ]

    return run


def evaluate_onnx(
    source: Union[Path, bytes], inputs: Union[Sequence[Array], Mapping[str, Array]], options_json: str
) -> tuple[list[Array], str]:
    """What an ONNX model computes, and who says so: onnxruntime where it is installed and takes the model."""
    if importlib.util.find_spec("onnxruntime") is not None and options_json == "{}":
        try:
            return onnxruntime(source)(inputs), "onnxruntime"
        except Exception:
            # It refuses some models that are fine.
            pass
    return reference(source, options_json)(inputs), "eval"
