// Reads a file ahead of whoever takes it, so that it arrives while a worker starts. It does not look at what it reads.

import type { Opened } from './source.js';

/** Bytes that are held at most, give or take a piece. */
const LIMIT = 16 << 20;

/** The same file. */
export function readAhead(opened: Opened): Opened {
  const held: Uint8Array[] = [];
  let bytes = 0;
  /** The piece that is on its way, or the end; undefined when none is asked for. True when it came. */
  let coming: Promise<boolean> | undefined;
  const more = () => {
    if (coming === undefined) {
      coming = opened.next().then((piece) => {
        if (piece === undefined) return false;
        bytes += held.push(piece) && piece.length;
        coming = undefined;
        if (bytes < LIMIT) void more();
        return true;
      });
      // Whoever takes the pieces learns of a failure.
      coming.catch(() => {});
    }
    return coming;
  };
  void more();
  return {
    ...opened,
    async next() {
      while (held.length === 0 && (await more()));
      const piece = held.shift();
      bytes -= piece?.length ?? 0;
      if (piece !== undefined) void more();
      return piece;
    },
  };
}
