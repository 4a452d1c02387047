"""Element types, and whatever holds numbers as NumPy arrays. It copies only what has no fitting memory."""

from __future__ import annotations

import sys
from typing import Any, Union

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

#: Element types of modules as NumPy has them; what it lacks travels as unsigned integers of the same width.
DTYPES: dict[str, np.dtype[Any]] = {
    name: np.dtype(kind)
    for name, kind in {
        "f16": "float16", "f32": "float32", "f64": "float64",
        "i8": "int8", "i16": "int16", "i32": "int32", "i64": "int64",
        "u8": "uint8", "u16": "uint16", "u32": "uint32", "u64": "uint64",
        "bool": "bool", "bf16": "uint16",
    }.items()
}  # fmt: skip

_NAMES = {dtype: name for name, dtype in DTYPES.items() if name != "bf16"}


def dtype_of(name: str) -> np.dtype[Any]:
    """The NumPy type of a module's element type."""
    return DTYPES.get(name, np.dtype("uint8"))


def name_of(dtype: np.dtype[Any]) -> str:
    """The module's name of a NumPy type, e.g. `f32`.

    Raises:
        TypeError: There is no such element type.
    """
    try:
        return _NAMES[dtype.newbyteorder("=")]
    except KeyError:
        raise TypeError(f"arrays of {dtype} have no element type that a module knows") from None


def is_torch(value: object, kind: str) -> bool:
    """Whether a value is of a class of torch, without importing it."""
    torch = sys.modules.get("torch")
    if torch is None:
        return False
    owner: Any = torch
    for part in kind.split("."):
        owner = getattr(owner, part, None)
        if owner is None:
            return False
    return isinstance(value, owner)


def to_numpy(value: object, dtype: Union[np.dtype[Any], None] = None) -> Array:
    """A value as an array: arrays and CPU tensors share memory, numbers and lists become arrays of `dtype`."""
    if isinstance(value, np.ndarray):
        return value
    if is_torch(value, "Tensor"):
        tensor: Any = value
        tensor = tensor.detach().cpu()
        if str(tensor.dtype) == "torch.bfloat16":
            import torch

            tensor = tensor.view(torch.uint16)
        return np.asarray(tensor.numpy())
    if isinstance(value, (str, bytes, dict)) or value is None:
        raise TypeError(f"an array, a tensor or numbers were expected, not {type(value).__name__}")
    try:
        array = np.asarray(value, dtype)
    except (TypeError, ValueError) as error:
        raise TypeError(f"the {type(value).__name__} is no array of numbers: {error}") from None
    if array.dtype == object:
        raise TypeError(f"the {type(value).__name__} holds something other than numbers")
    return array
