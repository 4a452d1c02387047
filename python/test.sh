#!/usr/bin/env bash
# Installs the Python package into an environment of its own and tests it: pytest, mypy, the stubs.
#
# usage: python/test.sh [PYTEST ARGUMENTS…]
#
# The environment is $WASM_TORCH_CACHE/python-venv, or ~/.cache/wasm-torch/python-venv. PyTorch and onnxruntime are those of
# models/tools/torch_venv.sh; where that environment cannot be made, the tests that need them say that they are skipped.
# The native module is built with the development profile, from the crates that the compiler's own build has compiled.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${WASM_TORCH_CACHE:-$HOME/.cache/wasm-torch}
venv=$cache/python-venv
python=$venv/bin/python
packages=(maturin==1.16.0 pytest==9.2.0 mypy==2.4.1 numpy==2.4.6 dask==2026.8.0)
stamp="${packages[*]}"

if [[ ! -x $python || ! -f $venv/wasm-torch.stamp || $(<"$venv/wasm-torch.stamp") != "$stamp" ]]; then
    echo "making $venv" >&2
    python3 -m venv --clear "$venv"
    "$python" -m pip install -q --disable-pip-version-check "${packages[@]}" >&2
    echo "$stamp" >"$venv/wasm-torch.stamp"
fi
site=$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
if torch=$("$root/models/tools/torch_venv.sh" | tail -n 1) && [[ -x $torch ]]; then
    "$torch" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])' >"$site/torch_of_the_models.pth"
else
    rm -f "$site/torch_of_the_models.pth"
    echo "PyTorch cannot be had: the tests that need it are skipped" >&2
fi

cd "$root/python"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}
# As `pip install ./python` does it, but for the profile, and for the wheel that stays to be measured.
wheels=$CARGO_TARGET_DIR/wheels
rm -rf "$wheels"
PATH=$venv/bin:$PATH "$python" -m pip wheel -q --disable-pip-version-check --no-build-isolation --no-deps \
    --config-settings=build-args="--profile dev" --wheel-dir "$wheels" .
size=$(wc -c <"$wheels"/*.whl)
echo "the wheel has $size bytes"
if ((size > 15000000)); then
    echo "error: a wheel has at most 15000000 bytes" >&2
    exit 1
fi
"$python" -m pip install -q --disable-pip-version-check --no-deps --force-reinstall "$wheels"/*.whl
# Not from the sources: what is tested is what was installed.
cd "$root/python/tests"
"$python" -m pytest -c ../pyproject.toml --rootdir .. "$@" .
cd "$(mktemp -d)"
"$python" -m mypy --config-file "$root/python/pyproject.toml"
"$python" -m mypy.stubtest wasm_torch._native --mypy-config-file "$root/python/pyproject.toml"
