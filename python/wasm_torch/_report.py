"""What an export did, for people, notebooks and scripts."""

from __future__ import annotations

import html
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional, Union


@dataclass(frozen=True)
class Verification:
    """How far a module is from its model on the example input.

    Attributes:
        ok: Every output is within the tolerance.
        max_abs: Largest difference of an element.
        max_rel: The same relative to the largest element of its output.
        tolerance: What `max_rel` may be.
        against: What the module was compared with: `torch`, `onnxruntime` or `eval`, the model's definition.
        outputs: `name`, `max_abs` and `max_rel` of each output.
    """

    ok: bool
    max_abs: float
    max_rel: float
    tolerance: float
    against: str
    outputs: list[dict[str, Any]]


@dataclass
class ExportReport:
    """What an export did and what came of it.

    Attributes:
        path: The module's file.
        details: The compiler's report: `stages` in milliseconds, `sizes` and `memory` in bytes, `steps`, `passes`, …
        exporter: What wrote the ONNX file: `dynamo` or `legacy`; `None` where it was given.
        verification: The comparison with the model, if there was one.
        quantization: What quantisation did, if there was one.
        warnings: What looks odd but does not hinder.
    """

    path: Path
    details: dict[str, Any]
    exporter: Optional[str] = None
    verification: Optional[Verification] = None
    quantization: Optional[dict[str, Any]] = None
    warnings: list[str] = field(default_factory=list)

    @property
    def sizes(self) -> dict[str, Any]:
        """Bytes of the file: `total`, `weights`, `code`, `manifest`, …; `variants` maps names to bytes."""
        return {**self.details["sizes"], "variants": dict(self.details["sizes"]["variants"])}

    @property
    def size_mb(self) -> float:
        """Size of the file in MB (10^6 bytes)."""
        return float(self.details["sizes"]["total"]) / 1e6

    @property
    def layers(self) -> list[dict[str, Any]]:
        """The module's steps: `layers` (PyTorch's names), `kernel`, `macs`, `weight_bytes`, …"""
        return list(self.details["steps"])

    @property
    def passes(self) -> dict[str, int]:
        """The passes that fired, and how often."""
        fired: dict[str, int] = {}
        for row in self.details["passes"]:
            if row["changed"]:
                fired[row["name"]] = fired.get(row["name"], 0) + row["changed"]
        return fired

    @property
    def peak_memory_bytes(self) -> int:
        """Memory that the module starts with: weights and all intermediate values."""
        return int(self.details["memory"]["initial_bytes"])

    @property
    def milliseconds(self) -> float:
        """Time that the compiler took."""
        return float(self.details["stages"]["total_ms"])

    def to_dict(self) -> dict[str, Any]:
        """Everything, as plain data."""
        verification = None if self.verification is None else vars(self.verification)
        own = {"path": str(self.path), "exporter": self.exporter, "verification": verification, "quantization": self.quantization}
        return {**self.details, **own, "warnings": self.warnings}

    def save(self, path: Union[str, Path]) -> None:
        """Writes everything to a JSON file."""
        Path(path).write_text(json.dumps(self.to_dict(), indent=1), encoding="utf-8")

    def rows(self) -> list[tuple[str, str]]:
        """The report as a table."""
        sizes, memory = self.details["sizes"], self.details["memory"]
        code = sizes["code"] + sum(size for _, size in sizes["variants"])
        rows = [
            ("size", f"{_bytes(sizes['total'])} = {_bytes(sizes['weights'])} weights + {_bytes(code)} code"),
            ("graph", f"{self.details['nodes_before']} nodes before the passes, {self.details['nodes_after']} after; {len(self.layers)} steps"),
            ("passes", ", ".join(f"{name} {count}" for name, count in self.passes.items()) or "none fired"),
            ("memory", f"{_bytes(memory['initial_bytes'])} at start, {_bytes(memory['arena_bytes'])} of it for intermediate values"),
            ("work", f"{self.details['macs'] / 1e6:.1f} million multiply-accumulates"),
            ("time", f"{self.milliseconds:.0f} ms"),
        ]
        if self.exporter:
            rows.insert(0, ("exporter", self.exporter))
        if self.quantization:
            q = self.quantization
            text = f"{len(q['layers'])} integer layers, {len(q['kept'])} stay in floating point"
            if q.get("agreement") is not None:
                text += f"; {100 * q['agreement']:.1f} % agree with the unquantised model, cosine {q['cosine']:.4f}"
            rows.append(("int8", text))
        if self.verification:
            v = self.verification
            rows.append(("verified", f"{'ok' if v.ok else 'DIFFERS'}: error {v.max_rel:.1e} relative to {v.against}'s largest output"))
        return rows + [("warning", warning) for warning in self.warnings]

    def __repr__(self) -> str:
        return "\n".join([str(self.path), *(f"  {name:<9} {text}" for name, text in self.rows())])

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th><td style='text-align:left'>{html.escape(text)}</td></tr>"
            for name, text in self.rows()
        )
        return f"<table><caption>{html.escape(str(self.path))}</caption>{cells}</table>"


def _bytes(count: int) -> str:
    for unit, size in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"
