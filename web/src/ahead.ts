// Reads a file ahead of whoever takes it, so that it arrives while a worker starts, and looks at its manifest. It drops nothing.

import { type Manifest, manifestIn } from './manifest.js';
import type { Opened } from './source.js';
import { concatenate } from './stream.js';

/** Bytes that are held at most, give or take a piece. */
const LIMIT = 16 << 20;

/** The same file, and its manifest if it begins with one as it should. */
export function readAhead(opened: Opened): Opened & { readManifest(): Promise<Manifest | undefined> } {
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
  const file: ReturnType<typeof readAhead> = {
    ...opened,
    async next() {
      while (held.length === 0 && (await more()));
      const piece = held.shift();
      bytes -= piece?.length ?? 0;
      if (piece !== undefined) void more();
      return piece;
    },
    async readManifest() {
      try {
        while ((file.manifest = manifestIn(concatenate(held))) === undefined && (await more()));
      } catch {
        // Whoever loads the file words it better.
      }
      return file.manifest;
    },
  };
  return file;
}
