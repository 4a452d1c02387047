"""Single ONNX operators as models: the few messages of ONNX that one node needs, encoded by hand, so that no package is
needed."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

from ._arrays import Array, name_of

#: `TensorProto.DataType` by element type.
_ELEMENTS = {
    "f32": 1, "u8": 2, "i8": 3, "u16": 4, "i16": 5, "i32": 6, "i64": 7, "bool": 9, "f16": 10, "f64": 11, "u32": 12, "u64": 13,
}  # fmt: skip
OPSET = 21


def model(operator: str, inputs: Sequence[Array], attributes: Mapping[str, Any], outputs: int = 1) -> bytes:
    """The bytes of a model that applies one operator to inputs named `x0`, `x1`, …

    Raises:
        TypeError: An attribute is of a kind that no operator has.
    """
    names = [f"x{index}" for index in range(len(inputs))]
    results = [f"y{index}" for index in range(outputs)]
    node = b"".join([_text(1, name) for name in names] + [_text(2, name) for name in results] + [_text(3, operator), _text(4, operator)])
    node += b"".join(_message(5, _attribute(name, value)) for name, value in attributes.items())
    graph = _message(1, node) + _text(2, operator)
    for name, array in zip(names, inputs):
        shape = b"".join(_message(1, _number(1, size)) for size in array.shape)
        tensor = _number(1, _ELEMENTS[name_of(array.dtype)]) + _message(2, shape)
        graph += _message(11, _text(1, name) + _message(2, _message(1, tensor)))
    graph += b"".join(_message(12, _text(1, name)) for name in results)
    return _number(1, 10) + _text(2, "wasm_torch") + _message(7, graph) + _message(8, _text(1, "") + _number(2, OPSET))


def _attribute(name: str, value: Any) -> bytes:
    start = _text(1, name)
    if isinstance(value, bool) or isinstance(value, int):
        return start + _number(3, int(value)) + _number(20, 2)
    if isinstance(value, float):
        return start + _key(2, 5) + struct.pack("<f", value) + _number(20, 1)
    if isinstance(value, str):
        return start + _text(4, value) + _number(20, 3)
    if isinstance(value, (list, tuple)) and all(isinstance(item, int) for item in value):
        return start + b"".join(_number(8, item) for item in value) + _number(20, 7)
    if isinstance(value, (list, tuple)) and all(isinstance(item, (int, float)) for item in value):
        return start + b"".join(_key(7, 5) + struct.pack("<f", item) for item in value) + _number(20, 6)
    if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
        return start + b"".join(_text(9, item) for item in value) + _number(20, 8)
    raise TypeError(f"the attribute {name!r} is {value!r}; expected numbers or text")


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _key(field: int, kind: int) -> bytes:
    return _varint(field << 3 | kind)


def _number(field: int, value: int) -> bytes:
    return _key(field, 0) + _varint(value)


def _message(field: int, contents: bytes) -> bytes:
    return _key(field, 2) + _varint(len(contents)) + contents


def _text(field: int, text: str) -> bytes:
    return _message(field, text.encode())
