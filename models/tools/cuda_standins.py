"""Compiles empty stand-ins for the CUDA libraries that a torch wheel links, so that torch loads and runs on the CPU.

usage: PYTHON_OF_THE_ENVIRONMENT cuda_standins.py

PyPI's torch for x86-64 Linux is linked against a dozen CUDA libraries, 3 GB of wheels that a machine without a GPU
never calls. This reads which libraries and symbols torch's own libraries ask for and builds shared objects that define
them: every function returns an error code, and `cudaGetDeviceCount` says that there is no device. Where nothing is
missing (CPU wheels, macOS, ARM) it does nothing. It does not make CUDA work.
"""

import collections
import importlib.util
import pathlib
import re
import subprocess
import sys
import tempfile

# Where the loader looks for them: torch's libraries have this folder in their RUNPATH.
PLACE = "nvidia/cu{major}/lib"
CUDA_LIBRARY = re.compile(r"lib(cu|nccl|nv)")
NEEDED = re.compile(r"NEEDED\s+(\S+)")
MAJOR = re.compile(r"lib(?:cudart|cublas)\.so\.(\d+)")
# Most symbols carry no version: their prefix says whose they are. The first that matches counts.
PREFIXES = (
    ("cusparseLt", "libcusparseLt"),
    ("cublasLt", "libcublasLt"),
    ("cublas", "libcublas"),
    ("cudnn", "libcudnn"),
    ("cufft", "libcufft"),
    ("cusparse", "libcusparse"),
    ("cusolver", "libcusolver"),
    ("nccl", "libnccl"),
    ("nvrtc", "libnvrtc"),
    ("nvshmem", "libnvshmem_host"),
    ("cupti", "libcupti"),
    ("cuFile", "libcufile"),
    ("__cuda", "libcudart"),
    ("cuda", "libcudart"),
)
# 100 is cudaErrorNoDevice. What runs while torch is imported or asks for devices.
BODIES = {
    "cudaGetDeviceCount": "int {name}(int *count) {{ if (count) *count = 0; return 100; }}",
    "cudaRuntimeGetVersion": "int {name}(int *version) {{ if (version) *version = 0; return 0; }}",
    "cudaDriverGetVersion": "int {name}(int *version) {{ if (version) *version = 0; return 0; }}",
    "cudaGetLastError": "int {name}(void) {{ return 0; }}",
    "cudaPeekAtLastError": "int {name}(void) {{ return 0; }}",
    "cudaGetErrorName": 'const char *{name}(void) {{ return "cudaErrorNoDevice"; }}',
    "cudaGetErrorString": 'const char *{name}(void) {{ return "this is a stand-in for CUDA"; }}',
    "cudnnGetErrorString": 'const char *{name}(void) {{ return "this is a stand-in for cuDNN"; }}',
    "ncclGetErrorString": 'const char *{name}(void) {{ return "this is a stand-in for NCCL"; }}',
    "cudnnGetVersion": "unsigned long {name}(void) {{ return 92600; }}",
}
DEFAULT_BODY = "long {name}(void) {{ return 100; }}"


def main():
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        sys.exit("error: torch is not installed in this environment")
    site_packages = pathlib.Path(spec.origin).parent.parent
    if sys.platform != "linux":
        return
    libraries = [p for p in (site_packages / "torch" / "lib").glob("*.so*") if p.is_file()]
    missing = missing_libraries(libraries)
    if not missing:
        return
    major = next(match[1] for name in missing if (match := MAJOR.match(name)))
    folder = site_packages / PLACE.format(major=major)
    folder.mkdir(parents=True, exist_ok=True)
    missing = {name for name in missing if not (folder / name).exists()}
    symbols = undefined_symbols(libraries, missing)
    for name in sorted(missing):
        build(folder / name, symbols[name])
    print(f"{len(missing)} stand-ins for CUDA libraries, {sum(map(len, symbols.values()))} symbols", file=sys.stderr)


def missing_libraries(libraries):
    """File names of the CUDA libraries that `libraries` need and that are not among them."""
    present = {library.name for library in libraries}
    needed = set()
    for library in libraries:
        needed.update(NEEDED.findall(tool("objdump", "-p", library)))
    return {name for name in needed if CUDA_LIBRARY.match(name) and name not in present}


def undefined_symbols(libraries, missing):
    """{library: {symbol: version or ""}}, each undefined symbol under the missing library that should define it."""
    full_names = {name.split(".so")[0]: name for name in missing}
    symbols = collections.defaultdict(dict)
    for library in libraries:
        for line in tool("readelf", "--wide", "--dyn-syms", library).splitlines():
            columns = line.split()
            if len(columns) < 8 or columns[6] != "UND":
                continue
            symbol, _, version = columns[7].partition("@")
            version = version.lstrip("@")
            owner = owner_of(symbol, version, missing, full_names)
            if owner:
                symbols[owner].setdefault(symbol, version)
    return symbols


def owner_of(symbol, version, missing, full_names):
    """The missing library that defines `symbol`, or None."""
    if version in missing:  # versions are named after the library: cublasCreate_v2@libcublas.so.13
        return version
    if version.startswith("NVSHMEM"):
        return full_names.get("libnvshmem_host")
    if version:
        return None
    stem = next((library for prefix, library in PREFIXES if symbol.startswith(prefix)), None)
    return full_names.get(stem)


def build(path, symbols):
    """Compiles one stand-in that defines `symbols` under their versions."""
    functions = [BODIES.get(symbol, DEFAULT_BODY).format(name=symbol) for symbol in sorted(symbols)]
    by_version = collections.defaultdict(list)
    for symbol, version in sorted(symbols.items()):
        if version:
            by_version[version].append(symbol)
    with tempfile.TemporaryDirectory() as scratch:
        source, script = pathlib.Path(scratch) / "standin.c", pathlib.Path(scratch) / "versions.map"
        source.write_text("\n".join(functions) + "\n")
        command = ["gcc", "-shared", "-fPIC", "-O1", "-w", "-fno-builtin", "-o", path, source, f"-Wl,-soname,{path.name}"]
        if by_version:
            script.write_text("".join(f"{v} {{ global: {'; '.join(names)}; }};\n" for v, names in by_version.items()))
            command.append(f"-Wl,--version-script={script}")
        subprocess.run(command, check=True)


def tool(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main()
