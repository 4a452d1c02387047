"""Whatever a model is given as, as an ONNX file or its bytes. It exports nothing itself."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Optional, Union

from ._arrays import is_torch

#: A path or the bytes of an ONNX file.
Onnx = Union[Path, bytes]

TAKEN = "a torch.nn.Module, a torch.export.ExportedProgram, an ONNX path, bytes or an onnx.ModelProto"


def is_torch_model(model: object) -> bool:
    """Whether PyTorch has to export it first."""
    return is_torch(model, "nn.Module") or is_torch(model, "export.ExportedProgram")


def onnx(model: object) -> Optional[Onnx]:
    """An ONNX model as a path or bytes; `None` for a model of PyTorch.

    Raises:
        TypeError: It is nothing of the kind.
        FileNotFoundError, IsADirectoryError: There is no such file.
    """
    if is_torch_model(model):
        return None
    if isinstance(model, (bytes, bytearray, memoryview)):
        return bytes(model)
    if isinstance(model, (str, os.PathLike)):
        path = Path(os.fspath(model))
        # Opened once, so that Python's own error says what is wrong with it.
        with path.open("rb"):
            return path
    proto: Any = sys.modules.get("onnx")
    if proto is not None and isinstance(model, proto.ModelProto):
        message: Any = model
        return bytes(message.SerializeToString())
    raise TypeError(f"the model is a {type(model).__name__}; expected {TAKEN}")
