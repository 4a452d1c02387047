// Gives the browser the most of the processor that it can get, so that other work on the machine weighs less.

import { readFileSync, writeFileSync } from 'node:fs';

/**
 * Playwright starts a browser in a session, and so a scheduler autogroup, of its own; `nice` does not cross autogroups.
 * Asks for the highest weight for those of this process's children. Returns whether it was given: only root gets it, on Linux.
 */
export function preferBrowsers() {
  try {
    const children = readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').trim().split(/\s+/);
    for (const pid of children) writeFileSync(`/proc/${pid}/autogroup`, '-20');
    return true;
  } catch {
    return false;
  }
}
