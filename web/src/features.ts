// What the WebAssembly engine at hand can do, and why not. It probes with tiny modules: one is validated, one runs.

import { HEADER } from './stream.js';

/** What variants may ask for, as manifests spell it: empty where it is there, else why it is not, for people. */
export interface Features {
  readonly simd128: string;
  readonly 'relaxed-simd': string;
  readonly atomics: string;
  readonly [name: string]: string;
}

/** The type (func (result v128)). */
const SIMD = [1, 5, 1, 96, 0, 1, 123];

// (func (export "f") (param $a i32) (param $b i32) (result i32) the first lane of
// i32x4.relaxed_dot_i8x16_i7x16_add_s of $a and $b in every byte, and of 0)
const DOT = [
  1, 7, 1, 96, 2, 127, 127, 1, 127, 3, 2, 1, 0, 7, 5, 1, 1, 102, 0, 0, 10, 22, 1, 20, 0, 32, 0, 253, 15, 32, 1, 253, 15, 65, 0,
  253, 17, 253, 147, 2, 253, 27, 0, 11,
];

const probe = (sections: readonly number[]) => Uint8Array.of(...HEADER, ...sections);

/** Probes everything that a variant may ask for. */
export function detect(): Features {
  let relaxed = 'the engine has no relaxed SIMD (Chrome 114, Firefox 145)';
  let dot = '';
  try {
    const { f } = new WebAssembly.Instance(new WebAssembly.Module(probe(DOT))).exports as { f(a: number, b: number): number };
    relaxed = '';
    // Engines differ in how they read bytes above 127 in the second operand; some are wrong everywhere.
    if (![127, -127].every((a) => f(a, 255) === 4 * 255 * a)) dot = 'relaxed dot products are not exact here';
  } catch {
    // The probe is not valid.
  }
  return {
    simd128: WebAssembly.validate(probe(SIMD)) ? '' : 'the engine has no 128-bit SIMD (Chrome 91, Firefox 89, Safari 16.4; not in some privacy modes)',
    // Every engine with 128-bit SIMD has these.
    'bulk-memory': '',
    multivalue: '',
    'mutable-globals': '',
    'nontrapping-fptoint': '',
    'reference-types': '',
    'sign-ext': '',
    deflate: globalThis.DecompressionStream ? '' : 'the engine has no DecompressionStream (Firefox 113)',
    'relaxed-simd': relaxed,
    // Nobody asks for it without relaxed SIMD.
    'relaxed-dot-unsigned': dot,
    // Every engine with shared memory has atomics, and hides it from pages that are not isolated.
    atomics: globalThis.SharedArrayBuffer ? '' : 'the page is not cross-origin isolated: it needs https or localhost, Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp',
  };
}
