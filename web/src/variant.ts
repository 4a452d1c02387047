// Which of a file's variants to run: the same rule as `select_variant` of the Rust host, tested on tests/variants.json.

import { VARIANTS } from './abi.generated.js';
import { WasmTorchError } from './errors.js';

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

/** The file's own code first, then the further variants. */
export function offered(manifest: Offer): Variant[] {
  return [{ name: manifest.variant ?? 'baseline', features: manifest.features }, ...(manifest.variants ?? [])];
}

/** The most preferred variant whose features are all available; undefined when there is none. */
export function selectVariant(manifest: Offer, available: ReadonlySet<string>): Variant | undefined {
  const candidates = offered(manifest).filter(({ features }) => features.every((feature) => available.has(feature)));
  return VARIANTS.map((name) => candidates.find((variant) => variant.name === name)).find((found) => found !== undefined);
}

/** As `selectVariant`, or the one that `forced` names; an error says what is missing. */
export function chooseVariant(manifest: Offer, available: ReadonlySet<string>, why: Readonly<Record<string, string>>, forced?: VariantName): Variant {
  const all = offered(manifest);
  const asked = forced === undefined ? all : all.filter(({ name }) => name === forced);
  if (asked.length === 0) {
    throw new WasmTorchError('invalid-argument', `The module has no variant '${forced}'; it has ${all.map(({ name }) => name).join(', ')}.`, 'export it again with `--variants all`');
  }
  const chosen = forced === undefined ? selectVariant(manifest, available) : asked.find(({ features }) => features.every((feature) => available.has(feature)));
  if (chosen !== undefined) return chosen;
  const missing = asked.map(({ features }) => features.filter((feature) => !available.has(feature))).sort((a, b) => a.length - b.length)[0]!;
  const reasons = missing.flatMap((feature) => why[feature] ?? []);
  throw new WasmTorchError(missing.includes('simd128') ? 'no-simd' : 'unsupported-feature', `The module needs ${missing.join(', ')}, which is not available here${reasons.length > 0 ? `: ${reasons.join('; ')}` : ''}.`, 'export with `--variants all` to have a variant for every engine');
}
