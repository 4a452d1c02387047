"""Modules in Python: loading, calling, copies for other processes. How a module runs is the native module's business."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Optional, Union

import numpy as np

from . import _native
from ._arrays import Array, dtype_of, name_of, to_numpy
from .errors import OptionError

Source = Union[str, "os.PathLike[str]", bytes]


class Port(NamedTuple):
    """An input or output of a module.

    Attributes:
        name: As the model has it.
        dtype: The NumPy type of its elements.
        shape: Its sizes.
        element: The module's own name of the element type, e.g. `f32`.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    element: str


def load(
    source: Source,
    threads: int = 1,
    memory_limit_mb: Optional[float] = None,
    timeout_seconds: Optional[float] = None,
    cache: Union[bool, str, os.PathLike[str]] = True,
    *,
    variant: Optional[str] = None,
) -> Module:
    """Loads a module.

    Args:
        source: Path or bytes of a `.wasm` file that `export_to_wasm` wrote.
        threads: Threads that compute, the caller's included.
        memory_limit_mb: Most memory of the module, in MiB.
        timeout_seconds: Longest that a call may take.
        cache: Keep compiled code on disk, so that the next load is quick: `True` for `$WASM_TORCH_CACHE/code` or
            `~/.cache/wasm-torch/code`, or a folder of your own.
        variant: `baseline`, `relaxed`, `threads` or `relaxed+threads` instead of the best one.

    Raises:
        ModuleError: It is no module, or a damaged one.
        MemoryLimitError: It starts with more memory than it may have.
        OSError: The file cannot be read.
    """
    return Module(source, threads=threads, memory_limit_mb=memory_limit_mb, timeout_seconds=timeout_seconds, cache=cache, variant=variant)


class Module:
    """A compiled model. `module(x)` computes what the model's `forward` does.

    It can be pickled, which gives a module of the same file in the other process; calls from several threads take turns, and
    release the interpreter meanwhile.
    """

    def __init__(
        self,
        source: Source,
        *,
        threads: int = 1,
        memory_limit_mb: Optional[float] = None,
        timeout_seconds: Optional[float] = None,
        cache: Union[bool, str, os.PathLike[str]] = True,
        variant: Optional[str] = None,
    ) -> None:
        if isinstance(source, (bytearray, memoryview)):
            source = bytes(source)
        if not isinstance(source, (bytes, str, os.PathLike)):
            raise TypeError(f"a module is a path or bytes, not {type(source).__name__}")
        if isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= 256:
            raise OptionError(f"threads is {threads!r}; give a number from 1 to 256")
        if timeout_seconds is not None and not timeout_seconds > 0:
            raise OptionError(f"timeout_seconds is {timeout_seconds!r}; give a positive number")
        if memory_limit_mb is not None and not memory_limit_mb > 0:
            raise OptionError(f"memory_limit_mb is {memory_limit_mb!r}; give a positive number")
        self._source: Union[bytes, str] = source if isinstance(source, bytes) else os.path.abspath(os.fspath(source))
        self._options: dict[str, Any] = {
            "threads": threads,
            "memory_limit_mb": memory_limit_mb,
            "timeout_seconds": timeout_seconds,
            "cache": cache if isinstance(cache, bool) else os.fspath(cache),
            "variant": variant,
        }
        self.timeout_seconds = timeout_seconds
        self._open()

    def _open(self) -> None:
        options = self._options
        folder = None
        if isinstance(self._source, str):
            # Python's own error says what is wrong with the file.
            with open(self._source, "rb"):
                folder = os.path.dirname(self._source)
        limit = options["memory_limit_mb"]
        self._instance = _native.Instance(
            self._source,
            folder=folder,
            threads=options["threads"],
            variant=options["variant"],
            memory_limit=None if limit is None else int(limit * (1 << 20)),
            interruptible=options["timeout_seconds"] is not None,
            cache=cache_folder(options["cache"]),
        )
        #: Everything that the module says about itself.
        self.manifest: dict[str, Any] = json.loads(self._instance.manifest())
        self._inputs = tuple(_port(port) for port in self.manifest["inputs"])
        self._outputs = tuple(_port(port) for port in self.manifest["outputs"])
        self._free = bool(self.manifest.get("symbols"))
        self._process = os.getpid()

    @property
    def inputs(self) -> tuple[Port, ...]:
        """What a call takes."""
        return self._inputs

    @property
    def outputs(self) -> tuple[Port, ...]:
        """What a call gives."""
        return self._outputs

    @property
    def dims(self) -> dict[str, tuple[int, int]]:
        """The free sizes by name: smallest and largest."""
        return {symbol["name"]: (symbol["min"], symbol["max"]) for symbol in self.manifest.get("symbols", []) if not symbol.get("found")}

    @property
    def variant(self) -> str:
        """Which code of the file runs."""
        return self._instance.variant()

    @property
    def threads(self) -> int:
        """Threads that compute, the caller's included."""
        return int(self._options["threads"])

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the model on arrays, CPU tensors or numbers; by position, by name, or one mapping of names.

        Contiguous arrays of the right type are read where they are.

        Returns:
            The output as an array; a tuple of them, in the model's order, where it has several.

        Raises:
            ShapeError: Names, element types or shapes do not fit; says what was expected.
            TypeError: A value is no array.
            ModuleTimeoutError: The call took longer than `timeout_seconds`.
            ModuleError: The model failed on these values; `layers` says where.
        """
        outputs = self._run(args, kwargs)
        return outputs[0] if len(outputs) == 1 else outputs

    def run(self, *args: Any, **kwargs: Any) -> dict[str, Array]:
        """As a call; always gives a mapping of output names to arrays."""
        outputs = self._run(args, kwargs)
        return {port.name: array for port, array in zip(self._outputs, outputs)}

    def _run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Array, ...]:
        if self._process != os.getpid():
            # A fork has the memory, but neither threads nor a lock that is free for sure.
            self._open()
        ports = self._inputs
        if len(args) == 1 and not kwargs and isinstance(args[0], Mapping):
            kwargs, args = dict(args[0]), ()
        if kwargs or len(args) != len(ports):
            args = self._bound(args, kwargs)
        if self._free:
            return self._run_free(args)
        kept: list[Array] = []
        inputs = []
        for port, value in zip(ports, args):
            array = value if type(value) is np.ndarray else to_numpy(value, port.dtype)
            if array.dtype != port.dtype or array.shape != port.shape:
                self._misfit(args)
            if not array.flags.c_contiguous:
                array = np.ascontiguousarray(array)
            kept.append(array)
            inputs.append((array.__array_interface__["data"][0], array.nbytes))
        outputs = tuple([np.empty(port.shape, port.dtype) for port in self._outputs])
        addresses = [(array.__array_interface__["data"][0], array.nbytes) for array in outputs]
        self._instance.call(inputs, addresses, self.timeout_seconds)
        return outputs

    def _run_free(self, args: tuple[Any, ...]) -> tuple[Array, ...]:
        """A run of a module with free sizes: the inputs' shapes decide the outputs'."""
        kept, described = [], []
        for port, value in zip(self._inputs, args):
            array = np.asarray(to_numpy(value, port.dtype), order="C")
            element = port.element if array.dtype == port.dtype else name_of(array.dtype)
            kept.append(array)
            described.append((port.name, element, list(array.shape), (array.__array_interface__["data"][0], array.nbytes)))
        found = self._instance.call_named(described, self.timeout_seconds)
        return tuple(np.frombuffer(bytearray(data), dtype_of(element)).reshape(shape) for _, element, shape, data in found)

    def _bound(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """All inputs in order."""
        names = [port.name for port in self._inputs]
        if len(args) > len(names):
            raise TypeError(f"the module takes {len(names)} inputs ({', '.join(names)}), {len(args)} were given")
        given = dict(zip(names, args))
        for name in kwargs:
            if name in given:
                raise TypeError(f"the input {name!r} is given twice")
        given.update(kwargs)
        if set(given) != set(names):
            self._check(given)
        return tuple(given[name] for name in names)

    def _misfit(self, args: tuple[Any, ...]) -> None:
        self._check({port.name: to_numpy(value, port.dtype) for port, value in zip(self._inputs, args)})

    def _check(self, given: Mapping[str, Any]) -> None:
        """Raises what is wrong with the inputs, if anything."""
        elements = {port.name: port for port in self._inputs}
        described = []
        for name, value in given.items():
            port = elements.get(name)
            array = to_numpy(value, port.dtype if port else None)
            same = port is not None and array.dtype == port.dtype
            described.append((name, port.element if port and same else name_of(array.dtype), list(array.shape)))
        self._instance.check(described)

    def memory(self) -> dict[str, int]:
        """Bytes: `total` now (it never shrinks), `weights`, `arena`; statistics of the pools."""
        stats: dict[str, int] = json.loads(self._instance.memory())
        return stats

    def profile(self, repeat: int = 10) -> list[dict[str, Any]]:
        """Times every step on random inputs: `layers`, `kernel`, `ms` (median), `share`, `gflops`."""
        steps: list[dict[str, Any]] = json.loads(self._instance.profile(repeat))
        return steps

    def bench(self, repeat: int = 20) -> dict[str, float]:
        """Times runs on random inputs, without Python: `median_ms`, `min_ms`, `p90_ms`, `mean_ms`, `first_ms`, `runs`."""
        times: dict[str, float] = json.loads(self._instance.bench(repeat))
        return times

    def reset(self) -> None:
        """Memory as it was when the module was loaded: state that runs have left is gone."""
        self._instance = self._instance.again(self._source)

    def save_state(self) -> dict[str, Array]:
        """Copies of the tensors that the module keeps between calls, by the names of the inputs that they were."""
        found = self._instance.save_state()
        return {name: np.frombuffer(bytearray(data), dtype_of(element)).reshape(shape) for name, element, shape, data in found}

    def restore_state(self, states: Mapping[str, Any]) -> None:
        """Puts saved tensors back: all of them, in any order. Raises `ShapeError` or `OptionError` for others."""
        arrays = {name: np.asarray(value, order="C") for name, value in states.items()}
        described = [
            (name, name_of(array.dtype), list(array.shape), (array.__array_interface__["data"][0], array.nbytes)) for name, array in arrays.items()
        ]
        self._instance.restore_state(described)

    def copy(self) -> Module:
        """The same code with a memory of its own: for a second thread."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._instance = self._instance.again(self._source)
        return other

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self._source, tuple(sorted(self._options.items())), self.manifest["weights_sha256"])

    def __repr__(self) -> str:
        def shown(ports: tuple[Port, ...]) -> str:
            return ", ".join(f"{port.name}: {port.element}{list(port.shape)}" for port in ports)

        return f"<wasm_torch.Module {self.manifest['model']!r} ({shown(self._inputs)}) -> ({shown(self._outputs)}), {self.variant}>"


#: Modules that other processes sent, so that mapping one over much data loads it once.
_restored: dict[Any, Module] = {}
_restoring = threading.Lock()


def _restore(source: Union[bytes, str], options: tuple[tuple[str, Any], ...], weights: list[str]) -> Module:
    """The module of a pickle."""
    key = (hash(source) if isinstance(source, bytes) else source, options, tuple(weights), os.getpid())
    with _restoring:
        module = _restored.get(key)
        if module is None:
            module = Module(source, **dict(options))
            if module.manifest["weights_sha256"] != weights:
                raise OptionError(f"{source if isinstance(source, str) else 'the module'} has changed since the module was sent")
            _restored[key] = module
            while len(_restored) > 8:
                del _restored[next(iter(_restored))]
    return module


def cache_folder(cache: Union[bool, str]) -> Optional[str]:
    """Where compiled code is kept; `None` for nowhere."""
    if cache is False:
        return None
    if isinstance(cache, str):
        return cache
    given = os.environ.get("WASM_TORCH_CACHE")
    if given:
        return str(Path(given) / "code")
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return None if not base or base.startswith("~") else str(Path(base) / "wasm-torch" / "code")


def _port(port: Mapping[str, Any]) -> Port:
    return Port(port["name"], dtype_of(port["dtype"]), tuple(port["shape"]), port["dtype"])
