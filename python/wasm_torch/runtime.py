"""Many modules with the same settings, and statistics of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any, Optional

import numpy as np

from ._arrays import Array, to_numpy
from ._module import Module, Source
from .errors import MemoryLimitError, ModuleTimeoutError, OptionError

__all__ = ["WASMRuntime"]


class WASMRuntime:
    """Loads and runs modules with common settings.

    Args:
        simd: Modules are SIMD code; `False` raises.
        threads: Threads that compute, the caller's included.
        memory_limit_mb: Most memory of each module, in MiB.
        timeout_seconds: Longest that a call may take.
        cache: As for `wasm_torch.load`.
    """

    def __init__(
        self,
        simd: bool = True,
        threads: int = 1,
        memory_limit_mb: Optional[float] = None,
        timeout_seconds: Optional[float] = None,
        *,
        cache: Any = True,
    ) -> None:
        if not simd:
            raise OptionError("modules are SIMD code; there is no other\nhint: leave simd out")
        self._options: dict[str, Any] = {
            "threads": threads, "memory_limit_mb": memory_limit_mb, "timeout_seconds": timeout_seconds, "cache": cache,
        }  # fmt: skip
        self._modules: list[Module] = []
        self._lock = threading.Lock()
        self._counts = {"calls": 0, "failures": 0, "timeouts": 0, "memory_limits": 0}
        self._load_seconds = 0.0
        self._run_seconds = 0.0

    def load_model(self, source: Source) -> Module:
        """Loads a module from a path or bytes; see `wasm_torch.load`."""
        start = time.perf_counter()
        module = Module(source, **self._options)
        with self._lock:
            self._load_seconds += time.perf_counter() - start
            self._modules.append(module)
        return module

    def run(self, module: Module, *args: Any, **kwargs: Any) -> Any:
        """Calls a module, and counts."""
        start = time.perf_counter()
        try:
            return module(*args, **kwargs)
        except BaseException as error:
            with self._lock:
                self._counts["failures"] += 1
                self._counts["timeouts"] += isinstance(error, ModuleTimeoutError)
                self._counts["memory_limits"] += isinstance(error, MemoryLimitError)
            raise
        finally:
            with self._lock:
                self._counts["calls"] += 1
                self._run_seconds += time.perf_counter() - start

    def batch_inference(self, module: Module, inputs: Iterable[Any]) -> list[Any]:
        """Runs a module on each of several inputs.

        Args:
            module: What `load_model` gave.
            inputs: Inputs of one call each: an array or a tensor, a tuple of them, a mapping of names; or one array whose
                first axis counts samples. Where the module's own batch is larger than one, single samples are put
                together, and the last batch is filled up with zeros.

        Returns:
            The outputs of each input, as a call gives them.
        """
        ports = module.inputs
        if isinstance(inputs, np.ndarray) or hasattr(inputs, "numpy"):
            samples = list(to_numpy(inputs))
        else:
            samples = list(inputs)
        if len(ports) == 1 and ports[0].shape and not any(isinstance(sample, (tuple, Mapping)) for sample in samples):
            arrays = [to_numpy(sample, ports[0].dtype) for sample in samples]
            if all(array.shape == ports[0].shape[1:] for array in arrays):
                return self._batched(module, arrays)
        return [self.run(module, *sample) if isinstance(sample, tuple) else self.run(module, sample) for sample in samples]

    def _batched(self, module: Module, arrays: list[Array]) -> list[Any]:
        size = module.inputs[0].shape[0]
        results: list[Any] = []
        for start in range(0, len(arrays), size):
            part = arrays[start : start + size]
            batch = np.zeros(module.inputs[0].shape, module.inputs[0].dtype)
            for row, array in enumerate(part):
                if array.dtype != batch.dtype:
                    # The module's own words on what is wrong.
                    self.run(module, array[None])
                batch[row] = array
            outputs = self.run(module, batch)
            for row in range(len(part)):
                results.append(tuple(output[row] for output in outputs) if isinstance(outputs, tuple) else outputs[row])
        return results

    def get_runtime_stats(self) -> dict[str, Any]:
        """`models`, `calls`, `failures`, `timeouts`, `memory_limits`, `load_seconds`, `run_seconds`, `mean_ms` of a call,
        `memory_bytes` of all modules together, and the settings."""
        with self._lock:
            counts, modules = dict(self._counts), list(self._modules)
            load, run = self._load_seconds, self._run_seconds
        return {
            "models": len(modules), **counts, "load_seconds": load, "run_seconds": run,
            "mean_ms": 1e3 * run / counts["calls"] if counts["calls"] else 0.0,
            "memory_bytes": sum(module.memory()["total"] for module in modules),
            "simd": True, **{name: self._options[name] for name in ("threads", "memory_limit_mb", "timeout_seconds")},
        }  # fmt: skip
