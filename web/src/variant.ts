// Which of a file's variants to run: the same rule as `select_variant` of the Rust host, tested on tests/variants.json.

import { VARIANTS } from './abi.generated.js';
import { WasmTorchError } from './errors.js';
import type { Features } from './features.js';

/** The code of a file comes in up to four kinds. */
export type VariantName = 'baseline' | 'relaxed' | 'threads' | 'relaxed+threads';

/** One kind of code that a file offers. */
export interface Variant {
  readonly name: VariantName;
  readonly features: readonly string[];
  /** The custom section that holds it, compressed when it needs the feature `deflate`; none for the file's own code. */
  readonly section?: string;
}

/** What a manifest says about variants; without a name the file's own code is the baseline. */
export interface Offer {
  readonly variant?: VariantName;
  readonly features: readonly string[];
  readonly variants?: readonly Variant[];
}

/** The file's own code and the further variants, the best first. */
function offered(manifest: Offer): Variant[] {
  const all: Variant[] = [{ name: manifest.variant ?? 'baseline', features: manifest.features }, ...(manifest.variants ?? [])];
  return VARIANTS.flatMap((name) => all.filter((variant) => variant.name === name));
}

/** The most preferred variant whose features are all available; undefined when there is none. */
export function selectVariant(manifest: Offer, available: ReadonlySet<string>): Variant | undefined {
  return offered(manifest).find(({ features }) => features.every((name) => available.has(name)));
}

/** As `selectVariant`, or the one that `forced` names; an error says what is missing. */
export function chooseVariant(manifest: Offer, features: Features, forced?: VariantName): Variant {
  const all = offered(manifest);
  const lacking = (variant: Variant) => variant.features.filter((name) => features[name] !== '');
  // Those that lack the same number of features stay in order.
  const best = all.filter(({ name }) => name === (forced ?? name)).sort((a, b) => lacking(a).length - lacking(b).length)[0];
  if (!best) {
    throw new WasmTorchError('invalid-argument', `The module has no variant '${forced}'; it has ${all.map(({ name }) => name).join(', ')}.`, 'export it again with `--variants all`');
  }
  const missing = lacking(best);
  if (missing.length === 0) return best;
  const reasons = missing.map((name) => `${name}, but ${features[name] ?? 'it is unknown here'}`);
  throw new WasmTorchError(missing.includes('simd128') ? 'no-simd' : 'unsupported-feature', `The module needs ${reasons.join('; ')}.`, 'export it again with `--variants all`');
}
