// Writes small WebAssembly modules byte by byte, for tests and micro-benchmarks. It validates nothing; engines do.

/** Unsigned LEB128. */
export function unsigned(value) {
  const bytes = [];
  do {
    const rest = Math.floor(value / 128);
    bytes.push((value % 128) + (rest > 0 ? 128 : 0));
    value = rest;
  } while (value > 0);
  return bytes;
}

/** Signed LEB128 of an i32. */
export function signed(value) {
  const bytes = [];
  for (;;) {
    const byte = value & 127;
    value >>= 7;
    if ((value === 0 && !(byte & 64)) || (value === -1 && byte & 64)) return [...bytes, byte];
    bytes.push(byte | 128);
  }
}

const vector = (items) => [...unsigned(items.length), ...items.flat()];
const sized = (bytes) => [...unsigned(bytes.length), ...bytes];
const text = (string) => sized([...new TextEncoder().encode(string)]);
const section = (id, bytes) => [id, ...sized(bytes)];

/** Value types. */
export const T = { i32: 0x7f, f32: 0x7d, v128: 0x7b };

/** Instructions as byte arrays; those with immediates are functions. Memory accesses assume alignment 1. */
export const I = {
  unreachable: [0x00],
  loop: [0x03, 0x40],
  if: [0x04, 0x40],
  end: [0x0b],
  branchIf: (depth) => [0x0d, ...unsigned(depth)],
  return: [0x0f],
  call: (index) => [0x10, ...unsigned(index)],
  get: (local) => [0x20, ...unsigned(local)],
  set: (local) => [0x21, ...unsigned(local)],
  tee: (local) => [0x22, ...unsigned(local)],
  global: (index) => [0x23, ...unsigned(index)],
  loadI32: (offset) => [0x28, 0, ...unsigned(offset)],
  i32: (value) => [0x41, ...signed(value)],
  f32: (value) => [0x43, ...new Uint8Array(Float32Array.of(value).buffer)],
  storeI32: (offset) => [0x36, 0, ...unsigned(offset)],
  grow: [0x40, 0x00],
  drop: [0x1a],
  eqz: [0x45],
  gtUnsigned: [0x4b],
  add: [0x6a],
  subtract: [0x6b],
  f32FromI32: [0xb2],
  v128: {
    load: (offset) => [0xfd, 0x00, 0, ...unsigned(offset)],
    store: (offset) => [0xfd, 0x0b, 0, ...unsigned(offset)],
    splat: [0xfd, 0x13],
    lane: (index) => [0xfd, 0x1f, index],
    add: [0xfd, ...unsigned(0xe4)],
    /** Needs relaxed SIMD. */
    relaxedMadd: [0xfd, ...unsigned(0x105)],
    multiply: [0xfd, ...unsigned(0xe6)],
  },
};

/**
 * `functions` are `{name, params, results, locals, body}` (types as in `T`, locals beyond the parameters), `globals` are
 * i32 `{name, value, fixed}`, mutable unless fixed, `customs` and `trailing` are `{name, bytes, place}`, first and last in the file, `data` are
 * `{address, bytes}`. All functions, globals and the memory are exported. `imported` says how `env.memory` comes in:
 * `{maximum, shared}`; without it the module owns its memory.
 *
 * What follows the header, in pieces `[bytes, place]`: to an address, to the code of `name`, or nowhere.
 */
export function pieces({ functions, globals = [], pages, imported, customs = [], trailing = [], data = [], name = 'baseline' }) {
  const exported = [
    ...(pages ? [[...text('memory'), 2, 0]] : []),
    ...globals.map(({ name }, i) => [...text(name), 3, ...unsigned(i)]),
    ...functions.map(({ name }, i) => [...text(name), 0, ...unsigned(i)]),
  ];
  const code = functions.map(({ locals = [], body }) =>
    sized([...vector(locals.map((type) => [1, type])), ...body.flat(), ...I.end]),
  );
  const imports = (limits) => section(2, vector([[...text('env'), ...text('memory'), 2, ...limits]]));
  const custom = ({ name, bytes, place = null }) => {
    const whole = section(0, [...text(name), ...bytes]);
    return [[whole.slice(0, whole.length - bytes.length), null], [bytes, place]];
  };
  const segments = data.flatMap(({ address, bytes }) => [[[0, ...I.i32(address), ...I.end, ...unsigned(bytes.length)], null], [[...bytes], address]]);
  const count = unsigned(data.length);
  const payload = segments.reduce((sum, [bytes]) => sum + bytes.length, count.length);
  return [
    ...customs.flatMap(custom),
    [section(1, vector(functions.map(({ params = [], results = [] }) => [0x60, ...vector(params), ...vector(results)]))), name],
    ...(imported ? [[imports([imported.shared ? 3 : 1, ...unsigned(pages), ...unsigned(imported.maximum)]), name]] : []),
    ...(pages && !imported ? custom({ name: 'wasm-torch.import', bytes: imports([0, ...unsigned(pages)]), place: name }) : []),
    [section(3, vector(functions.map((_, i) => unsigned(i)))), name],
    ...(pages && !imported ? [[section(5, vector([[0, ...unsigned(pages)]])), null]] : []),
    ...(globals.length ? [[section(6, vector(globals.map(({ value, fixed }) => [T.i32, fixed ? 0 : 1, ...I.i32(value), ...I.end]))), name]] : []),
    [section(7, vector(exported)), name],
    [section(10, vector(code)), name],
    ...(data.length ? [[[11, ...unsigned(payload), ...count], null], ...segments] : []),
    ...trailing.flatMap(custom),
  ];
}

/** A module of `pieces`, whatever places they have. */
export function join(pieces) {
  return Uint8Array.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, ...pieces.flatMap(([bytes]) => [...bytes])]);
}

/** The module that `pieces` describes. */
export function assemble(module) {
  return join(pieces(module));
}

/** A custom section as a piece. */
export function customSection(name, bytes) {
  return [section(0, [...text(name), ...bytes]), null];
}
