// The entry of an app that a bundler builds: the package by its name, a model by its address.

import * as wasmTorch from 'wasm-torch';

import { run } from '../pages/run.mjs';

window.result = run(wasmTorch, JSON.parse(new URLSearchParams(location.search).get('options')));
