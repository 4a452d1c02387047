# Two commands do everything on a fresh machine: `make demo` and `make test`.
# They need rustup's stable toolchain, Python 3.11 and Node 20; whatever else is missing they install.

CARGO ?= cargo
NPM ?= npm
CACHE := $(or $(WASM_TORCH_CACHE),$(HOME)/.cache/wasm-torch)
OUT := target/modules

.PHONY: demo demo-web test check rust web browser python bench bench-operators bench-int8 models zoo audit sbom miri load clean

# Always for the whole workspace: built for one package, dependencies have other features and compile again.
build = $(CARGO) build --workspace --bins
build-all = $(CARGO) build --workspace --all-targets

## Exports models/digits, runs it on 256 real images and prints what came out.
demo:
	$(build)
	target/debug/demo

## The same model in a local page: draw a digit, see the prediction. Stop it with Ctrl-C.
demo-web:
	$(build)
	target/debug/wasm-torch export models/digits/digits.dynamo.onnx -o target/digits.wasm
	target/debug/wasm-torch serve target/digits.wasm

## Everything: formatting, lints, Rust, wasmtime, the loader, Node, headless Chromium and Python.
test: check rust web browser python

check:
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(build-all)
	target/debug/xtask sizes
	target/debug/xtask audit

# The ONNX node tests are fetched once into the cache; without them their test says how many it skipped.
# The wasm target lets the test rebuild the embedded runtime; without it that test says that it was skipped.
rust:
	@rustup target list --installed 2>/dev/null | grep -q wasm32-unknown-unknown || rustup target add wasm32-unknown-unknown || true
	@tests/suite/fetch.sh >/dev/null || true
	$(CARGO) test --workspace

web: web/node_modules
	$(NPM) run build --prefix web
	$(NPM) test --prefix web

# Real modules in Node and in Chromium, bit for bit what wasmtime computes.
browser: web tests/browser/node_modules browsers
	$(build-all)
	target/debug/cases $(OUT)
	WASM_TORCH=$(abspath target/debug/wasm-torch) WASM_TORCH_CASES=$(abspath $(OUT))/cases.json $(NPM) test --prefix tests/browser

# The Python package, in an environment of its own in the cache; PyTorch from that of the models.
python:
	python/test.sh

## Licences, duplicates, sources and advisories of all dependencies (installs cargo-deny); AUDIT_STRICT=1 where nothing may be skipped.
audit:
	.ci/audit.sh

## Bills of materials of the command line, the Python package and the loader in target/sbom (installs cargo-cyclonedx).
sbom:
	.ci/sbom.sh

## The unsafe code that runs without a module, under Miri: needs rustup's nightly toolchain.
miri:
	rustup component add --toolchain nightly miri rust-src
	$(CARGO) +nightly miri test --package wasm-torch-routines --test memory --target-dir target/miri

## Long versions of the tests of load: a million inferences, a model of 600 MB through the compiler and in Chromium, a thousand loads.
load: web tests/browser/node_modules browsers
	$(build)
	target/debug/wasm-torch export -q models/digits/digits.dynamo.onnx -o target/digits.wasm
	target/debug/load inferences target/digits.wasm --count 1000000
	target/debug/load synthesize target/big.onnx --mb 600
	target/debug/load export target/big.onnx target/big.wasm
	rm target/big.onnx
	node tests/browser/large.mjs target/big.wasm
	target/debug/cases $(OUT)
	cd tests/browser && WASM_TORCH_LONG=1 WASM_TORCH_CASES=$(abspath $(OUT))/cases.json node --test --test-force-exit --test-reporter=spec load.test.mjs

.PHONY: browsers
browsers:
	@missing=; command -v chromium >/dev/null || missing=chromium; command -v firefox-esr >/dev/null || missing="$$missing firefox-esr"; \
	if [ -n "$$missing" ]; then apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $$missing; fi

%/node_modules: %/package-lock.json
	$(NPM) ci --prefix $*
	@touch $@

## PyTorch models that are too big to keep here: exported into the cache, with onnxruntime's results. Needs PyTorch.
models:
	python=$$(models/zoo/packages.sh | tail -n 1) && for folder in torchvision recurrent transformers; do $$python models/$$folder/export.py || exit 1; done

## Many architectures by both exporters: exported into the cache (what is there stays), compiled, run, compared with onnxruntime.
## Writes models/zoo/RESULTS.md. Needs PyTorch, timm and transformers (fetched); the first time takes about an hour.
zoo:
	$$(models/zoo/packages.sh | tail -n 1) models/zoo/export.py
	$(build)
	-target/debug/zoo -O3
	target/debug/zoo --markdown models/zoo/RESULTS.md

## The race in Chromium beside onnxruntime-web; prints a table and writes target/bench.json.
## OPTIONS: of the export, e.g. -O3. VARIANT: baseline (default) or relaxed.
bench: web tests/bench/node_modules browsers models
	$(CARGO) build --release --package wasm-torch
	node tests/bench/prepare.mjs target/release/wasm-torch $(CACHE)/models target/race $(OPTIONS)
	node tests/bench/bench.mjs --config target/race/models.json --variant $(or $(VARIANT),baseline) --rtol 1e-3 --profile --json target/bench.json --html target/bench.html

## INT8 beside our own f32 and beside models that onnxruntime has quantised, in one page. OPTIONS, VARIANT: as for bench.
bench-int8: web tests/bench/node_modules browsers models
	$(CARGO) build --release --package wasm-torch
	$$(models/zoo/packages.sh | tail -n 1) models/quantized/peers.py $(CACHE)/models target/race-int8/peers
	node tests/bench/quantized.mjs target/release/wasm-torch $(CACHE)/models target/race-int8/peers target/race-int8 $(OPTIONS)
	node tests/bench/bench.mjs --config target/race-int8/models.json --variant $(or $(VARIANT),baseline) --profile --json target/bench-int8.json

## Single operators in Chromium beside onnxruntime-web and plain JavaScript; writes target/operators.json and .html.
bench-operators: web tests/bench/node_modules browsers
	$(CARGO) build --release --package wasm-torch
	node tests/bench/operators.mjs target/release/wasm-torch target/operators $(OPTIONS)
	node tests/bench/bench.mjs --config target/operators/operators.json --batch --rounds 3 --calls 9 --variant $(or $(VARIANT),baseline) --json target/operators.json --html target/operators.html

clean:
	rm -rf target web/dist web/node_modules tests/*/node_modules
