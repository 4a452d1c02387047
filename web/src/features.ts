// What the WebAssembly engine at hand can do, and why not. It probes by validating tiny modules, and runs one.

/** Tiny modules that validate only where the feature is there. */
const PROBES = {
  // (func (result v128) i32.const 0 i8x16.splat i8x16.popcnt)
  simd128: [1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11],
  // (func (export "dot") (param $a i32) (param $b i32) (result i32) the first lane of
  // i32x4.relaxed_dot_i8x16_i7x16_add_s of $a and $b in every byte, and of 0)
  'relaxed-simd': [
    1, 7, 1, 96, 2, 127, 127, 1, 127, 3, 2, 1, 0, 7, 7, 1, 3, 100, 111, 116, 0, 0, 10, 22, 1, 20, 0, 32, 0, 253, 15, 32, 1, 253, 15, 65, 0,
    253, 17, 253, 147, 2, 253, 27, 0, 11,
  ],
  // (memory 1 1 shared) (func i32.const 0 i32.atomic.load drop)
  atomics: [1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 5, 4, 1, 3, 1, 1, 10, 11, 1, 9, 0, 65, 0, 254, 16, 2, 0, 26, 11],
} as const;

/** Every engine with 128-bit SIMD has these. */
const WITH_SIMD = ['bulk-memory', 'multivalue', 'mutable-globals', 'nontrapping-fptoint', 'reference-types', 'sign-ext'];

export interface Features {
  /** Names as manifests spell them. */
  readonly available: ReadonlySet<string>;
  /** Why a feature is not available, by name, for people. */
  readonly why: Readonly<Record<string, string>>;
}

function probe(name: keyof typeof PROBES): Uint8Array<ArrayBuffer> {
  return Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0, ...PROBES[name]);
}

function validates(name: keyof typeof PROBES): boolean {
  return WebAssembly.validate(probe(name));
}

/** Engines differ in how they read bytes above 127 in the second operand of a relaxed dot product; some are wrong everywhere. */
function hasUnsignedDot(): boolean {
  try {
    const { dot } = new WebAssembly.Instance(new WebAssembly.Module(probe('relaxed-simd'))).exports as { dot(a: number, b: number): number };
    return [1, 255].every((b) => dot(127, b) === 508 * b && dot(-127, b) === -508 * b);
  } catch {
    return false;
  }
}

/** Whether the engine has the 128-bit SIMD instructions. */
export function hasSimd(): boolean {
  return validates('simd128');
}

/** Probes everything that a variant may ask for. */
export function detect(): Features {
  const available = new Set<string>();
  const why: Record<string, string> = {};
  if (hasSimd()) for (const name of ['simd128', ...WITH_SIMD]) available.add(name);
  else why.simd128 = 'the engine has no 128-bit SIMD (Chrome 91, Firefox 89, Safari 16.4; some privacy modes switch it off)';
  if (typeof DecompressionStream === 'function') available.add('deflate');
  else why.deflate = 'the engine has no DecompressionStream (Firefox 113)';
  if (validates('relaxed-simd')) available.add('relaxed-simd');
  else why['relaxed-simd'] = 'the engine has no relaxed SIMD (Chrome 114, Firefox 145)';
  if (available.has('relaxed-simd')) {
    if (hasUnsignedDot()) available.add('relaxed-dot-unsigned');
    else why['relaxed-dot-unsigned'] = 'relaxed dot products are not exact here';
  }
  const atomics = whyNoThreads();
  if (atomics === undefined) available.add('atomics');
  else why.atomics = atomics;
  return { available, why };
}

function whyNoThreads(): string | undefined {
  if (!validates('atomics')) return 'the engine has no WebAssembly threads';
  if (globalThis.crossOriginIsolated === false) {
    return 'the page is not cross-origin isolated: serve it over https or from localhost, with Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp';
  }
  return typeof SharedArrayBuffer === 'undefined' ? 'the engine offers no SharedArrayBuffer' : undefined;
}
