"""Writes the backend tests of the package onnx as folders: models, inputs and expected outputs as protobuf.

usage: make_cases.py FOLDER

FOLDER/KIND/NAME/model.onnx
FOLDER/KIND/NAME/test_data_set_0/input_0.pb, …, output_0.pb, …   (TensorProto, SequenceProto or OptionalProto)
FOLDER/manifest.json   {"onnx": version, "cases": [{"kind", "name", "rtol", "atol", "inputs", "outputs"}, …]}, sorted;
                       "inputs" and "outputs" say "tensor", "sequence" or "optional" for each file

It computes no results: they are the package's. The same package writes the same bytes.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TypeProto, numpy_helper
from onnx.backend.test.loader import load_model_tests

GENERATED = ["node"]
ON_DISK = ["pytorch-converted", "pytorch-operator", "simple"]


def main(folder: Path) -> None:
    # Case modules draw from numpy's global generator while they are imported.
    np.random.seed(0)
    cases = []
    for kind in GENERATED + ON_DISK:
        tests = sorted(load_model_tests(kind=kind), key=lambda test: test.name)
        names = [test.name for test in tests]
        assert len(set(names)) == len(names), f"two cases of {kind} have one name"
        for test in tests:
            cases.append(write_case(folder, kind, test))
    manifest = {"onnx": onnx.__version__, "cases": cases}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=0) + "\n")
    print(f"{folder}: {len(cases)} cases", file=sys.stderr)


def write_case(folder: Path, kind: str, test) -> dict:
    target = folder / kind / test.name
    target.mkdir(parents=True, exist_ok=True)
    if test.model is None:
        shutil.copyfile(Path(test.model_dir) / "model.onnx", target / "model.onnx")
        model = onnx.load(target / "model.onnx")
        shutil.copytree(Path(test.model_dir) / "test_data_set_0", target / "test_data_set_0", dirs_exist_ok=True)
    else:
        model = test.model
        (target / "model.onnx").write_bytes(model.SerializeToString(deterministic=True))
        data = target / "test_data_set_0"
        data.mkdir(exist_ok=True)
        # Further data sets, where there are any, repeat the first one with other numbers.
        inputs, outputs = test.data_sets[0]
        for label, infos, values in (("input", model.graph.input, inputs), ("output", model.graph.output, outputs)):
            assert len(infos) >= len(values), f"{test.name}: {len(values)} {label}s, {len(infos)} declared"
            for i, (info, value) in enumerate(zip(infos, values)):
                message = to_proto(info.name, info.type, value)
                (data / f"{label}_{i}.pb").write_bytes(message.SerializeToString(deterministic=True))
    return {
        "kind": kind,
        "name": test.name,
        "rtol": test.rtol,
        "atol": test.atol,
        "inputs": file_types(target, "input", fed(model)),
        "outputs": file_types(target, "output", model.graph.output),
    }


def fed(model) -> list:
    """The inputs that a caller gives: before version 4 of the format, initialisers are listed among the inputs too."""
    initializers = {tensor.name for tensor in model.graph.initializer}
    return [info for info in model.graph.input if info.name not in initializers]


def file_types(target: Path, label: str, infos) -> list[str]:
    names = {"tensor_type": "tensor", "sparse_tensor_type": "sparse", "sequence_type": "sequence", "optional_type": "optional"}
    count = len(list((target / "test_data_set_0").glob(f"{label}_*.pb")))
    assert count <= len(infos), f"{target.name}: {count} {label}s, {len(infos)} declared"
    return [names.get(info.type.WhichOneof("value"), "map") for info in list(infos)[:count]]


def to_proto(name: str, declared: TypeProto, value):
    if isinstance(value, onnx.TensorProto | onnx.SequenceProto | onnx.OptionalProto):
        return value
    if declared.HasField("sequence_type"):
        return numpy_helper.from_list(value, name)
    if declared.HasField("optional_type"):
        return numpy_helper.from_optional(value, name)
    return numpy_helper.from_array(np.asarray(value), name)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
