#!/usr/bin/env bash
# Makes the Python environment of the scripts in models/: PyTorch on the CPU, both ONNX exporters, onnxruntime.
#
# usage: models/tools/torch_venv.sh [DIR]
#
# DIR is by default $WASM_TORCH_CACHE/torch-venv, or ~/.cache/wasm-torch/torch-venv. Prints the path of its python.
# Does nothing where the environment is already there with the same versions. Downloads about 540 MB, takes 1-3 minutes.
# Needs python3 (3.11 or newer) with venv and, on x86-64 Linux, gcc and binutils (see cuda_standins.py).
set -euo pipefail

folder=${1:-${WASM_TORCH_CACHE:-$HOME/.cache/wasm-torch}/torch-venv}
tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=$folder/bin/python
stamp=$folder/wasm-torch.stamp

case ${1:-} in
-h | --help)
    sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit 0
    ;;
esac

# Installed without their dependencies: torch's x86-64 wheel asks for 3 GB of CUDA libraries.
without_dependencies=(torch==2.15.0 torchvision==0.29.2 onnx==1.23.2 onnxscript==0.7.2 onnx-ir==1.1.0 onnxruntime==1.31.1)
# What those packages do need.
with_dependencies=(numpy==2.4.6 pillow==13.0.0 typing_extensions==4.16.0 sympy==1.14.0 networkx==3.6.1 jinja2==3.1.6 fsspec==2026.9.0
    filelock==4.2.11 protobuf==7.36.2 ml_dtypes==0.6.0 flatbuffers==25.12.19 packaging==26.3)

recipe=$(cat "$tools/torch_venv.sh" "$tools/cuda_standins.py" | cksum)
if [[ -x $python && -f $stamp && $(<"$stamp") == "$recipe" ]]; then
    echo "$python"
    exit 0
fi

if [[ $(uname -sm) == "Linux x86_64" ]]; then
    for command in gcc objdump readelf; do
        if ! command -v "$command" >/dev/null; then
            echo "error: $command is needed to make the environment" >&2
            echo "hint: apt-get install gcc binutils" >&2
            exit 1
        fi
    done
fi

echo "making $folder (about 540 MB to download)" >&2
python3 -m venv --clear "$folder"
"$python" -m pip install -q --disable-pip-version-check "${with_dependencies[@]}" >&2
# pip prints an error about the dependencies that are left out on purpose, and exits with 0.
"$python" -m pip install -q --disable-pip-version-check --no-deps "${without_dependencies[@]}" 2>"$folder/pip.log" || {
    cat "$folder/pip.log" >&2
    exit 1
}
"$python" "$tools/cuda_standins.py" >&2
"$python" -c 'import torch, torchvision, onnx, onnxscript, onnxruntime' >&2
echo "$recipe" >"$stamp"
echo "$python"
