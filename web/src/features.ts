// What the WebAssembly engine at hand can do, and why not. It probes by validating tiny modules, and runs one.

/** Tiny modules that validate only where the feature is there. */
const PROBES = {
  // (func (result v128) i32.const 0 i8x16.splat i8x16.popcnt)
  simd128: [1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11],
  // (func (result v128) i32.const 1 i8x16.splat i32.const 2 i8x16.splat i8x16.relaxed_swizzle)
  'relaxed-simd': [1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 15, 1, 13, 0, 65, 1, 253, 15, 65, 2, 253, 15, 253, 128, 2, 11],
  // (memory 1 1 shared) (func i32.const 0 i32.atomic.load drop)
  atomics: [1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 5, 4, 1, 3, 1, 1, 10, 11, 1, 9, 0, 65, 0, 254, 16, 2, 0, 26, 11],
} as const;

/**
 * (func (export "dot") (param $a i32) (param $b i32) (result i32) the first lane of
 * i32x4.relaxed_dot_i8x16_i7x16_add_s of $a and $b in every byte and 0: engines differ where $b exceeds seven bits.
 */
const DOT = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 7, 1, 96, 2, 127, 127, 1, 127, 3, 2, 1, 0, 7, 7, 1, 3, 100, 111, 116, 0, 0, 10, 22, 1, 20, 0, 32, 0, 253,
  15, 32, 1, 253, 15, 65, 0, 253, 17, 253, 147, 2, 253, 27, 0, 11,
];

/** Whether relaxed dot products are exact with an unsigned second operand. */
function hasUnsignedDot(): boolean {
  try {
    const { dot } = new WebAssembly.Instance(new WebAssembly.Module(Uint8Array.from(DOT))).exports as { dot(a: number, b: number): number };
    return dot(1, 1) === 4 && dot(127, 255) === 4 * 127 * 255 && dot(-127, 255) === -4 * 127 * 255;
  } catch {
    return false;
  }
}

/** Every engine with 128-bit SIMD has these. */
const WITH_SIMD = ['bulk-memory', 'multivalue', 'mutable-globals', 'nontrapping-fptoint', 'reference-types', 'sign-ext'];

export interface Features {
  /** Names as manifests spell them. */
  readonly available: ReadonlySet<string>;
  /** Why a feature is not available, by name, for people. */
  readonly why: Readonly<Record<string, string>>;
}

function validates(name: keyof typeof PROBES): boolean {
  return WebAssembly.validate(Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0, ...PROBES[name]));
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
  if (validates('relaxed-simd')) available.add('relaxed-simd');
  else why['relaxed-simd'] = 'the engine has no relaxed SIMD (Chrome 114, Firefox 145)';
  if (available.has('relaxed-simd')) {
    if (hasUnsignedDot()) available.add('relaxed-dot-unsigned');
    else why['relaxed-dot-unsigned'] = 'the relaxed dot products of this engine, on this processor, are not exact for unsigned bytes';
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
