"""Keywords of Python as options of the compiler. Which options there are is the compiler's to say: its one struct is asked,
nothing is listed here but other spellings and values that are objects in Python."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from . import _native
from .errors import OptionError

#: Other spellings of keywords.
ALIASES = {
    "enable_simd": "use_simd",
    "enable_threads": "use_threads",
    "opt_level": "optimization_level",
    "quantize": "quantization",
    "quantization_type": "quantization",
    "optimization_passes": "passes",
    "sample_input": "example_input",
    "dim": "dims",
    "disable_pass": "disable_passes",
}


@lru_cache(maxsize=1)
def known() -> dict[str, dict[str, Any]]:
    """The compiler's options by name: `help`, and `many` for those that take a list."""
    return {option["name"]: option for option in json.loads(_native.export_options())}


@lru_cache(maxsize=1)
def pipeline() -> list[dict[str, str]]:
    """The passes in their order: `name`, `summary` and the lowest `level` that runs them."""
    passes: list[dict[str, str]] = json.loads(_native.pipeline())
    return passes


def unalias(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords under their own names.

    Raises:
        TypeError: One is given twice, under two names.
    """
    result: dict[str, Any] = {}
    for name, value in keywords.items():
        name = ALIASES.get(name, name)
        if name in result:
            raise TypeError(f"{name} is given twice, under two names")
        result[name] = value
    return result


def check_names(names: Sequence[str], own: Sequence[str]) -> None:
    """Raises for keywords that are neither the compiler's nor in `own`.

    Raises:
        TypeError: Names the keyword and what is close to it.
    """
    for name in names:
        if name not in known() and name not in own:
            close = difflib.get_close_matches(name, [*known(), *own, *ALIASES], 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise TypeError(f"export_to_wasm() has no option {name!r}{hint}")


def level(value: object) -> str:
    """`2`, `"2"`, `"o2"` and `"O2"` are the same level."""
    text = str(value)
    return text if text[:1] in "Oo" else f"O{text}"


def dims(value: object) -> list[str]:
    """Sizes of named dimensions: `{"batch": 1, "seq": (1, 512)}`, or `["batch=1", "seq=1..512"]`.

    >>> dims({"batch": 1, "seq": (1, 512)})
    ['batch=1', 'seq=1..512']
    """
    if isinstance(value, str):
        return [part.strip() for part in value.split(",")]
    if isinstance(value, Mapping):
        return [f"{name}={size[0]}..{size[1]}" if isinstance(size, (tuple, list)) else f"{name}={size}" for name, size in value.items()]
    if isinstance(value, Sequence):
        return [str(part) for part in value]
    raise TypeError(f"dims is a mapping of names to sizes, not {type(value).__name__}")


def bind(value: object, folder: Path) -> list[str]:
    """Inputs that become constants: `{"scale": 0.5, "mask": array}`. Arrays are written to `folder`."""
    if not isinstance(value, Mapping):
        return dims(value)
    import numpy as np

    from ._arrays import to_numpy

    result = []
    for index, (name, given) in enumerate(value.items()):
        if isinstance(given, (int, float)):
            result.append(f"{name}={given!r}")
        elif isinstance(given, (list, tuple)) and given and all(isinstance(number, (int, float)) for number in given):
            result.append(f"{name}={','.join(map(repr, given))}")
        elif isinstance(given, (str, os.PathLike)):
            result.append(f"{name}={os.fspath(given)}")
        else:
            path = folder / f"bind{index}.npy"
            np.save(path, to_numpy(given))
            result.append(f"{name}={path}")
    return result


def to_json(keywords: Mapping[str, Any], folder: Path) -> str:
    """The compiler's options as JSON; `None` leaves one out. `folder` holds what options must read from files."""
    result: dict[str, Any] = {}
    for name, value in keywords.items():
        if value is None:
            continue
        if name == "level":
            value = level(value)
        elif name == "dims":
            value = dims(value)
        elif name == "bind":
            value = bind(value, folder)
        elif known()[name]["many"] and isinstance(value, Mapping):
            value = [f"{left}={right}" for left, right in value.items()]
        elif known()[name]["many"] and isinstance(value, str):
            value = [part.strip() for part in value.split(",")]
        elif isinstance(value, os.PathLike):
            value = os.fspath(value)
        elif isinstance(value, (tuple, set, frozenset)):
            value = list(value)
        result[name] = value
    check_passes(result)
    try:
        return json.dumps(result)
    except TypeError as error:
        raise TypeError(f"an option has a value of a wrong type: {error}") from None


def check_passes(options: Mapping[str, Any]) -> None:
    """Raises for passes that do not exist."""
    names = [entry["name"] for entry in pipeline()]
    for name in [*options.get("passes", []), *options.get("disable_passes", [])]:
        if name not in names:
            close = difflib.get_close_matches(name, names, 1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise OptionError(f"there is no pass {name!r}\nhint: {hint}the passes are: {', '.join(names)}")
