#!/usr/bin/env bash
# Bills of materials in CycloneDX: target/sbom/{wasm-torch,python,web}.json.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=${WASM_TORCH_CACHE:-$HOME/.cache/wasm-torch}/tools
export PATH=$PATH:$tools/bin
command -v cargo-cyclonedx >/dev/null || cargo install --quiet --locked --root "$tools" cargo-cyclonedx@0.5.9
mkdir -p target/sbom

# The tool writes beside the manifests of all members: what is not asked for goes again.
cargo cyclonedx --quiet --format json --spec-version 1.5 --override-filename sbom
mv compiler/driver/sbom.json target/sbom/wasm-torch.json
mv python/sbom.json target/sbom/python.json
find . -name sbom.json -not -path './target/*' -not -path '*/node_modules/*' -delete
(cd web && npm sbom --sbom-format cyclonedx --package-lock-only) >target/sbom/web.json
for file in target/sbom/*.json; do
    echo "$file: $(node -p 'JSON.parse(require("fs").readFileSync(process.argv[1])).components.length' "$file") components"
done
