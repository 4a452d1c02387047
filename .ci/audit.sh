#!/usr/bin/env bash
# Dependencies of the workspace and the loader against deny.toml and the databases of advisories. What
# cannot be reached is said and counted; AUDIT_STRICT=1 makes it an error.
set -uo pipefail
cd "$(dirname "$0")/.."
tools=${WASM_TORCH_CACHE:-$HOME/.cache/wasm-torch}/tools
export PATH=$PATH:$tools/bin
failed=0 skipped=0

command -v cargo-deny >/dev/null || cargo install --quiet --locked --root "$tools" cargo-deny@0.20.2 || exit 2
echo "== licences, duplicates, sources"
cargo deny --config deny.toml check --hide-inclusion-graph licenses bans sources || failed=1
echo "== advisories"
report=$(cargo deny --config deny.toml check advisories 2>&1)
case $? in
    0) echo "advisories ok" ;;
    *) if grep -q 'failed to fetch advisory database' <<<"$report"; then
           echo "SKIPPED: the database of advisories cannot be reached"
           skipped=$((skipped + 1))
       else
           echo "$report"
           failed=1
       fi ;;
esac

for folder in web tests/browser tests/bench; do
    echo "== $folder: npm audit"
    report=$(cd "$folder" && npm audit --package-lock-only 2>&1)
    if [ $? -eq 0 ]; then
        tail -n 1 <<<"$report"
    elif grep -q 'audit endpoint returned an error' <<<"$report"; then
        echo "SKIPPED: the registry's audit cannot be reached"
        skipped=$((skipped + 1))
    else
        echo "$report"
        failed=1
    fi
done

echo "audit: $([ $failed -eq 0 ] && echo ok || echo FAILED), $skipped skipped"
[ "${AUDIT_STRICT:-0}" = 1 ] && [ $skipped -gt 0 ] && failed=1
exit $failed
