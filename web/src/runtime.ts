// The entry: WASMTorch.init() and the runtime that loads models and makes tensors. It holds no model state.

import type { TypedArray } from './dtype.js';
import { hasSimd } from './features.js';
import { Instance } from './instance.js';
import { load, type ModuleSource, type OpenAddress } from './load.js';
import { Model } from './model.js';
import { createTensor, type NestedArray, type Tensor } from './tensor.js';

export class Runtime {
  readonly #open: OpenAddress;

  constructor(open: OpenAddress) {
    this.#open = open;
  }

  /** Whether the engine has the 128-bit SIMD instructions that modules need. */
  hasSIMD(): boolean {
    return hasSimd();
  }

  /** A model from an address, a Response, bytes or a compiled module; promises of these are awaited. */
  async loadModel(source: ModuleSource | PromiseLike<ModuleSource>): Promise<Model> {
    return new Model(await Instance.create(await load(source, this.#open)));
  }

  /** A tensor from typed or plain arrays: see `createTensor`. */
  createTensor(data: TypedArray | Uint8ClampedArray | NestedArray, shape?: readonly number[], dtype?: string): Tensor {
    return createTensor(data, shape, dtype);
  }
}

/** The entry for a platform that opens addresses with `open`. */
export function entry(open: OpenAddress): { init(): Promise<Runtime> } {
  return { init: async () => new Runtime(open) };
}
