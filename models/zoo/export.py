"""Exports the architectures of the zoo with both exporters into the cache, each with onnxruntime's outputs as golden.

usage: python models/zoo/export.py [NAME ...] [--exporters NAME ...] [--again] [--failed] [--small] [--list]

Files in `$WASM_TORCH_CACHE/zoo`: NAME.EXPORTER.onnx, NAME.EXPORTER.npz (`input:NAME`, `output:NAME`) and NAME.EXPORTER.json:
what was exported, or why it could not be. What is there is not made again unless `--again` says so. An architecture that
fails does not stop the others.
"""

import argparse
import collections
import importlib
import inspect
import json
import pathlib
import sys
import time
import traceback
import warnings

import numpy as np

FOLDER = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER.parent / "tools")]
import common  # noqa: E402
from registry import ARCHITECTURES  # noqa: E402

FAMILIES = ("vision", "hand", "detection", "text", "trained", "timm_models")
# What `models/zoo/small` holds.
SMALL = ("style_transfer", "tcn", "spectrogram_cnn", "tiny_bert", "tiny_llama", "tiny_llama_cache")
# The exporter's name of files that others exported.
AS_IS = "given"
PACKAGES = ("torch", "torchvision", "timm", "transformers", "onnx", "onnxscript", "onnxruntime")


def versions():
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            pass
    return found


def flattened(value):
    """Tensors of a result in order, whatever lists, tuples and dictionaries it is made of."""
    if hasattr(value, "detach"):
        return [value]
    if hasattr(value, "values"):
        value = list(value.values())
    return [tensor for part in value or () for tensor in flattened(part)] if isinstance(value, (list, tuple)) else []


def described(path):
    """Opset and operators of an ONNX file, for the record."""
    import onnx

    proto = onnx.load(str(path))
    kinds = collections.Counter()

    def walk(nodes):
        for node in nodes:
            kinds[f"{node.domain}.{node.op_type}" if node.domain not in ("", "ai.onnx") else node.op_type] += 1
            for attribute in node.attribute:
                for graph in [attribute.g, *attribute.graphs]:
                    walk(graph.node)

    walk(proto.graph.node)
    for function in proto.functions:
        walk(function.node)
    opset = next(o.version for o in proto.opset_import if o.domain in ("", "ai.onnx"))
    return {"opset": opset, "nodes": sum(kinds.values()), "operators": dict(sorted(kinds.items()))}


def sizes(path, inputs):
    """What the free dimensions of an ONNX file are for given inputs; one without a name is called INPUT_AXIS."""
    import onnx

    found = {}
    for port in onnx.load(str(path)).graph.input:
        for axis, dim in enumerate(port.type.tensor_type.shape.dim):
            if port.name in inputs and not dim.HasField("dim_value") or dim.dim_value == 0:
                found[dim.dim_param or f"{port.name}_{axis}"] = inputs[port.name].shape[axis]
    return found


def relative_error(found, expected):
    """Largest over all outputs of the largest difference relative to the largest magnitude."""
    worst = 0.0
    for f, e in zip(found, expected):
        if f.shape != e.shape:
            return float("inf")
        if e.size:
            f, e = f.astype(np.float64), e.astype(np.float64)
            worst = max(worst, float(np.abs(f - e).max() / (np.abs(e).max() or 1.0)))
    return worst


def dynamic_shapes(model, names, dynamic):
    """What the dynamo exporter wants to know about free dimensions: nested where `forward` takes `*tensors`."""
    import torch

    shapes = [{axis: torch.export.Dim(symbol) for axis, symbol in dynamic.get(name, {}).items()} for name in names]
    parameters = list(inspect.signature(model.forward).parameters.values())
    named = sum(p.kind != p.VAR_POSITIONAL for p in parameters)
    if len(parameters) > named:
        shapes[named:] = [tuple(shapes[named:])]
    return tuple(shapes)


def as_is(architecture, folder):
    """Writes somebody else's ONNX file with a golden."""
    path = folder / f"{architecture.name}.{AS_IS}.onnx"
    contents, inputs = architecture.file()
    with common.replacing(path) as temporary:
        temporary.write_bytes(contents)
    record = {"name": architecture.name, "family": architecture.family, "exporter": AS_IS, **described(path)}
    record["dims"] = sizes(path, inputs)
    record["bind"] = {name: inputs[name].item() for name in architecture.bind}
    outputs = common.run_onnxruntime(path, inputs)
    record["spread"] = spread(outputs)
    common.save_golden(path.with_suffix(".npz"), inputs, outputs)
    return record


def spread(outputs):
    """Standard deviations: an output that is all the same tests little."""
    return [round(float(np.std(o.astype(np.float64))), 6) if o.size else 0.0 for o in outputs.values()]


def export(architecture, exporter, folder):
    """Writes model and golden of one export."""
    import onnx
    import torch

    if exporter == AS_IS:
        return as_is(architecture, folder)
    # Built anew for each: exporters leave traces in modules.
    built = architecture.build()

    stem = f"{architecture.name}.{exporter}"
    path = folder / f"{stem}.onnx"
    start = time.time()
    tensors = tuple(torch.from_numpy(array) for array in built.inputs.values())
    with torch.no_grad():
        expected = flattened(built.model(*tensors))
    names = ["result", *(f"result_{i}" for i in range(1, len(expected)))]
    options = dict(built.options.get(exporter, {}))
    if exporter == "dynamo" and built.dynamic:
        options["dynamic_shapes"] = dynamic_shapes(built.model, built.inputs, built.dynamic)
    dynamic = built.dynamic if exporter == "legacy" else None
    common.export_onnx(built.model, tensors, path, exporter, list(built.inputs), names, dynamic, **options)
    seconds = time.time() - start
    record = {"name": architecture.name, "family": architecture.family, "exporter": exporter, "seconds": round(seconds, 1), **described(path)}
    wanted = {i.name for i in onnx.load(str(path)).graph.input}
    inputs = {name: array for name, array in built.inputs.items() if name in wanted}
    record["dims"] = sizes(path, inputs)
    outputs = common.run_onnxruntime(path, inputs)
    record["onnxruntime_against_torch"] = relative_error(list(outputs.values()), [e.numpy() for e in expected])
    record["spread"] = spread(outputs)
    common.save_golden(folder / f"{stem}.npz", inputs, outputs)
    return record


def short(error):
    """The first sentence of an exporter's complaint; they run to pages."""
    causes = [error]
    while causes[-1].__cause__ is not None:
        causes.append(causes[-1].__cause__)
    lines = [line.strip() for line in str(causes[-1]).splitlines() if line.strip()]
    text = f"{type(causes[-1]).__name__}: {lines[0] if lines else ''}"
    return text[:300]


def wanted(path, options):
    """Whether an export has to be made."""
    if options.again or not path.exists():
        return True
    return options.failed and json.loads(path.read_text())["status"] != "exported"


def attempt(architecture, folder, options):
    record_of = lambda exporter: folder / f"{architecture.name}.{exporter}.json"
    exporters = [AS_IS] if architecture.file else options.exporters
    missing = [exporter for exporter in exporters if wanted(record_of(exporter), options)]
    for exporter in missing:
        start = time.time()
        try:
            record = export(architecture, exporter, folder)
            record["status"] = "exported"
        except Exception as error:  # noqa: BLE001 — whatever the exporter raises is what is recorded
            record = {"name": architecture.name, "family": architecture.family, "exporter": exporter, "status": "not exported", "reason": short(error)}
            (folder / f"{architecture.name}.{exporter}.log").write_text(traceback.format_exc())
            for suffix in ("onnx", "npz"):
                (folder / f"{architecture.name}.{exporter}.{suffix}").unlink(missing_ok=True)
        record["versions"] = versions()
        with common.replacing(record_of(exporter)) as temporary:
            temporary.write_text(json.dumps(record, indent=1) + "\n")
        detail = record.get("reason") or f"{record['nodes']} nodes, onnxruntime against PyTorch {record.get('onnxruntime_against_torch', 0):.1e}, spread {record['spread'][:3]}"
        common.progress(f"{architecture.name}.{exporter}: {record['status']}, {detail} ({time.time() - start:.0f} s)")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="architectures; default: all")
    parser.add_argument("--exporters", nargs="+", choices=common.EXPORTERS, default=list(common.EXPORTERS))
    parser.add_argument("--again", action="store_true", help="make what is already there once more")
    parser.add_argument("--failed", action="store_true", help="try again what could not be exported")
    parser.add_argument("--small", action="store_true", help="the few that are committed, into models/zoo/small")
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    for family in FAMILIES:
        importlib.import_module(family)
    unknown = [name for name in options.names if name not in ARCHITECTURES]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; see --list")
    chosen = [ARCHITECTURES[name] for name in options.names or (SMALL if options.small else ARCHITECTURES)]
    if options.list:
        print("\n".join(f"{a.name:28} {a.family}" for a in chosen))
        return
    import torch

    torch.set_num_threads(1)
    folder = FOLDER / "small" if options.small else common.cache_dir("zoo")
    folder.mkdir(exist_ok=True)
    for architecture in chosen:
        attempt(architecture, folder, options)


if __name__ == "__main__":
    main()
