"""Measures exports and modules of a model under several options; keeps the numbers and compares them with earlier ones."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional, Union

from ._export import as_list, export_to_wasm
from ._module import Module

__all__ = ["ModelBenchmark"]

#: What a row of results is compared by.
_MEASURES = ("median_ms", "size_mb", "export_ms")


class ModelBenchmark:
    """Benchmarks with results in a folder.

    Args:
        output_dir: Where `results.json`, the modules and plots go; made if need be.
        repeat: Timed runs of each module; its median and minimum are kept.
        threads: Threads of the modules.
    """

    def __init__(self, output_dir: Union[str, Path], *, repeat: int = 20, threads: int = 1) -> None:
        self.output_dir = Path(output_dir)
        self.output_dir.mkdir(parents=True, exist_ok=True)
        self.repeat = repeat
        self.threads = threads
        self.results: list[dict[str, Any]] = []
        self._models: dict[str, tuple[Any, Any]] = {}

    def benchmark_model_export(
        self,
        model: Any,
        model_name: str,
        input_shape: Any,
        optimization_levels: Union[str, Sequence[str]] = ("O0", "O1", "O2", "O3"),
        **options: Any,
    ) -> list[dict[str, Any]]:
        """Exports a model at each level and times the modules.

        Args:
            model: As for `export_to_wasm`.
            model_name: What the rows are called.
            input_shape: Shape of the input, which is filled with random numbers; or example inputs.
            optimization_levels: Which levels.
            options: Of every export.

        Returns:
            One row each: `benchmark`, `model`, `variant` (the level), `export_ms`, `size_mb`, `median_ms`, `min_ms`,
            `memory_mb`, `error` (relative to the model, where that can be known).
        """
        example = self._example(model, model_name, input_shape)
        return [
            self._measure("export", model, model_name, level, example, optimization_level=level, **options)
            for level in as_list(optimization_levels)
        ]

    def benchmark_quantization(
        self, model: Any, model_name: str, input_shape: Any, quantization_types: Sequence[str] = ("dynamic",), calibration_data: Any = None, **options: Any
    ) -> list[dict[str, Any]]:
        """The model as it is, and quantised in each way. Further columns: `speedup` and `compression`.

        What cannot be quantised gives a row with `failure` instead of numbers.
        """
        example = self._example(model, model_name, input_shape)
        plain = self._measure("quantization", model, model_name, "float", example, **options)
        rows = [plain]
        for kind in quantization_types:
            data = None if kind == "dynamic" else calibration_data
            row = self._measure("quantization", model, model_name, kind, example, quantization=kind, calibration_data=data, **options)
            if "failure" not in row and "failure" not in plain:
                row["speedup"] = plain["median_ms"] / row["median_ms"]
                row["compression"] = plain["size_mb"] / row["size_mb"]
            rows.append(row)
        return rows

    def benchmark_browser_optimization(self, model: Any, model_name: str, input_shape: Any, **options: Any) -> list[dict[str, Any]]:
        """The module as a page gets it: with all variants or one, and compressed. Further column: `compressed_mb`."""
        from .optimize import optimize_for_browser

        example = self._example(model, model_name, input_shape)
        rows = []
        for name, variants in (("all variants", None), ("baseline", ["baseline"]), ("relaxed", ["relaxed"])):
            chosen = optimize_for_browser(model)
            row = self._measure("browser", chosen, model_name, name, example, variants=variants, **options)
            compressed = self.output_dir / f"{row['file']}.br"
            if compressed.exists():
                row["compressed_mb"] = compressed.stat().st_size / 1e6
            rows.append(row)
        return rows

    def run_comprehensive_benchmark(self, models: Optional[Mapping[str, tuple[Any, Any]]] = None) -> dict[str, Any]:
        """Every benchmark of each model, `name: (model, input_shape)`; by default of those measured so far.

        Writes `results.json`, and a plot if matplotlib is installed.

        Returns:
            `results` (the rows), `table` (as text), `files`.
        """
        chosen = dict(models) if models is not None else dict(self._models)
        for name, (model, shape) in chosen.items():
            self.benchmark_model_export(model, name, shape)
            self.benchmark_quantization(model, name, shape)
            self.benchmark_browser_optimization(model, name, shape)
        files = [str(self.save())]
        plot = self.plot()
        if plot is not None:
            files.append(str(plot))
        return {"results": self.results, "table": self.table(), "files": files}

    def save(self, path: Union[str, Path, None] = None) -> Path:
        """Writes the rows as JSON; by default to `results.json`."""
        target = self.output_dir / "results.json" if path is None else Path(path)
        target.write_text(json.dumps({"threads": self.threads, "repeat": self.repeat, "results": self.results}, indent=1), encoding="utf-8")
        return target

    def table(self) -> str:
        """The rows as text."""
        columns = ("benchmark", "model", "variant", "export_ms", "size_mb", "median_ms", "memory_mb", "error")
        rows = [columns, *(tuple(_cell(row.get(column)) for column in columns) for row in self.results)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(columns))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
        failures = [f"{row['model']} {row['variant']}: {row['failure']}" for row in self.results if "failure" in row]
        return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:], *failures])

    def plot(self) -> Optional[Path]:
        """Draws the times to `results.png`; `None` without matplotlib."""
        try:
            import matplotlib
        except ImportError:
            return None
        matplotlib.use("Agg")
        import matplotlib.pyplot as plt

        rows = [row for row in self.results if "median_ms" in row]
        figure, axes = plt.subplots(figsize=(8, 0.4 * len(rows) + 1.5))
        axes.barh([f"{row['model']} {row['benchmark']} {row['variant']}" for row in rows], [row["median_ms"] for row in rows])
        axes.set_xlabel("ms per call (median)")
        axes.invert_yaxis()
        figure.tight_layout()
        target = self.output_dir / "results.png"
        figure.savefig(target)
        plt.close(figure)
        return target

    def check_regression(self, baseline: Union[str, Path], tolerance: float = 0.1) -> list[str]:
        """Compares the rows with those of an earlier file.

        Args:
            baseline: What `save` wrote then.
            tolerance: How much worse a number may be, as a part of it.

        Returns:
            A sentence for each number that is worse; for rows that are missing or failed now as well.
        """
        earlier = json.loads(Path(baseline).read_text(encoding="utf-8"))["results"]
        now = {_key(row): row for row in self.results}
        problems = []
        for old in earlier:
            new = now.get(_key(old))
            name = " ".join(_key(old))
            if new is None:
                problems.append(f"{name}: not measured now")
                continue
            if "failure" in new and "failure" not in old:
                problems.append(f"{name}: {new['failure']}")
                continue
            for measure in _MEASURES:
                if measure in old and measure in new and new[measure] > old[measure] * (1 + tolerance):
                    problems.append(f"{name}: {measure} was {old[measure]:.3f}, is {new[measure]:.3f}")
        return problems

    def _example(self, model: Any, name: str, input_shape: Any) -> Any:
        self._models[name] = (model, input_shape)
        if not isinstance(input_shape, (tuple, list)) or not all(isinstance(size, int) for size in input_shape):
            return input_shape
        import numpy as np

        return np.random.default_rng(0).standard_normal(tuple(input_shape)).astype(np.float32)

    def _measure(self, benchmark: str, model: Any, name: str, variant: str, example: Any, **options: Any) -> dict[str, Any]:
        file = f"{name}.{benchmark}.{variant}.wasm".replace(" ", "_").replace("/", "_")
        row: dict[str, Any] = {"benchmark": benchmark, "model": name, "variant": variant, "file": file}
        self.results.append(row)
        try:
            report = export_to_wasm(model, self.output_dir / file, example, progress=False, **options)
            start = time.perf_counter()
            module = Module(self.output_dir / file, threads=self.threads, cache=False)
            load_ms = 1e3 * (time.perf_counter() - start)
            inputs = example if isinstance(example, (tuple, list)) else (example,)
            times = []
            for _ in range(self.repeat + 2):
                start = time.perf_counter()
                module(*inputs)
                times.append(1e3 * (time.perf_counter() - start))
        except TypeError:
            raise
        except Exception as error:
            # A benchmark goes on; the row says what happened.
            row["failure"] = f"{type(error).__name__}: {str(error).splitlines()[0]}"
            return row
        row.update(
            export_ms=report.milliseconds, size_mb=report.size_mb, memory_mb=module.memory()["total"] / 1e6, load_ms=load_ms,
            first_ms=times[0], median_ms=statistics.median(times[2:]), min_ms=min(times[2:]),
        )  # fmt: skip
        if report.verification is not None:
            row["error"] = report.verification.max_rel
        return row


def _key(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["benchmark"], row["model"], row["variant"]


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.1e}" if 0 < abs(value) < 1e-3 else f"{value:.2f}"
    return str(value)
