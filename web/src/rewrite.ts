// Turns the code sections of a module that owns its memory into one that imports it. It changes nothing else.

import { concatenate, HEADER } from './stream.js';

const TYPE = 1;
const IMPORT = 2;
const MEMORY = 5;

/** Where every variant finds its memory. */
export const MEMORY_IMPORT = { module: 'env', name: 'memory' } as const;

/** One section with its contents. */
export interface RawSection {
  readonly id: number;
  readonly contents: Uint8Array;
}

/**
 * A module of these sections whose memory comes from outside, so that weights can be written before the code is compiled.
 * A memory takes no place among functions, tables and globals: every index stays. One that imports already stays as it is.
 */
export function importMemory(sections: readonly RawSection[]): Uint8Array<ArrayBuffer> {
  const memory = sections.find(({ id }) => id === MEMORY);
  if (memory === undefined || sections.some(({ id }) => id === IMPORT)) return concatenate([HEADER, ...sections.flatMap(encode)]);
  // The vector of one memory is its count and its limits.
  const limits = memory.contents.subarray(1);
  const imported: RawSection = { id: IMPORT, contents: Uint8Array.of(1, ...text(MEMORY_IMPORT.module), ...text(MEMORY_IMPORT.name), 2, ...limits) };
  // Types come first, imports behind them.
  const parts = sections.flatMap((section) => (section.id === TYPE ? [section, imported] : section.id === MEMORY ? [] : [section]));
  return concatenate([HEADER, ...parts.flatMap(encode)]);
}

const text = (string: string) => [string.length, ...new TextEncoder().encode(string)];

function encode({ id, contents }: RawSection): Uint8Array[] {
  const head = [id];
  let size = contents.length;
  for (; size > 127; size = Math.floor(size / 128)) head.push((size % 128) + 128);
  return [Uint8Array.of(...head, size), contents];
}
