// Runs the cases of a file, every variant, in the Node that runs this script: the findings as JSON. For other versions of Node
// than the one that runs the tests.
//
// usage: node engine.mjs [CASES.json]    (without a file: the hand-made case)

import { handMade, inNode, readCases, variantsOf } from './cases.mjs';

const [file] = process.argv.slice(2);
const found = [];
for (const one of file ? await readCases(file) : [handMade()]) {
  for (const variant of variantsOf(one)) {
    const run = await inNode(one, { variant }).catch((error) => {
      // Not every engine computes the relaxed dot products that a variant has.
      if (error.code !== 'unsupported-feature' || !variant.includes('relaxed')) throw error;
      return { variant, skipped: error.message };
    });
    found.push({ name: one.name, engine: `node ${process.version}`, ...run });
  }
}
process.stdout.write(JSON.stringify(found), () => process.exit());
