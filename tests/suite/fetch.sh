#!/usr/bin/env bash
# Writes the ONNX backend tests into the cache (see make_cases.py), and prints their folder.
#
# usage: tests/suite/fetch.sh
#
# The cache is $WASM_TORCH_CACHE, or ~/.cache/wasm-torch. Does nothing where the cases are already there from the same
# recipe. Needs python3 (3.11 or newer) with venv; downloads about 40 MB.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
packages=(onnx==1.23.2 numpy==2.4.6 ml_dtypes==0.6.0 protobuf==7.36.2 typing_extensions==4.16.0 pillow==13.0.0)
folder=${WASM_TORCH_CACHE:-$HOME/.cache/wasm-torch}/onnx-suite/1.23.2
stamp=$folder/recipe

recipe=$(cat "$here/fetch.sh" "$here/make_cases.py" | cksum)
if [[ -f $stamp && $(<"$stamp") == "$recipe" ]]; then
    echo "$folder/cases"
    exit 0
fi

echo "making $folder" >&2
mkdir -p "$folder"
# Two runs at once take turns.
exec 9>"$folder/lock"
if command -v flock >/dev/null; then flock 9; fi
if [[ -f $stamp && $(<"$stamp") == "$recipe" ]]; then
    echo "$folder/cases"
    exit 0
fi
rm -rf "$stamp" "$folder/cases" "$folder/new"
python=$folder/venv/bin/python
if ! "$python" -c 'import onnx; assert onnx.__version__ == "1.23.2"' 2>/dev/null; then
    python3 -m venv --clear "$folder/venv" >&2
    "$python" -m pip install -q --disable-pip-version-check --only-binary :all: --no-deps "${packages[@]}" >&2
fi
"$python" -W ignore "$here/make_cases.py" "$folder/new" >&2
mv "$folder/new" "$folder/cases"
echo "$recipe" >"$stamp"
echo "$folder/cases"
