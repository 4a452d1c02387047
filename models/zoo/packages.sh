#!/usr/bin/env bash
# Adds what the zoo needs to the Python environment of models/tools: timm and transformers, without torch's dependencies.
#
# usage: models/zoo/packages.sh
#
# Prints the path of the environment's python. Does nothing where the packages are there.
set -euo pipefail

python=$("$(dirname "${BASH_SOURCE[0]}")/../tools/torch_venv.sh" | tail -n 1)
# Both ask for torch or for what torch's wheel asks for: installed without dependencies.
without_dependencies=(timm==1.0.31 transformers==5.23.0)
with_dependencies=(huggingface_hub==2.4.0 tokenizers==0.23.3 safetensors==0.8.0 regex==2026.11.15 PyYAML==6.0.3 tqdm==4.70.1 typer==0.29.1)

installed=$("$python" -m pip list --format=freeze --disable-pip-version-check)
missing=
for package in "${without_dependencies[@]}" "${with_dependencies[@]}"; do
    grep -qixF "$package" <<<"$installed" || missing="$missing $package"
done
if [[ -n $missing ]]; then
    echo "installing$missing" >&2
    "$python" -m pip install -q --disable-pip-version-check "${with_dependencies[@]}" >&2
    "$python" -m pip install -q --disable-pip-version-check --no-deps "${without_dependencies[@]}" >&2
fi
echo "$python"
