// A loaded model: checks tensors against the manifest and runs the module. It knows only what the manifest says.

import { WasmTorchError } from './errors.js';
import type { Instance } from './instance.js';
import type { Manifest, TensorInfo } from './manifest.js';
import { type Profile, Profiler } from './profile.js';
import { formatShape, Tensor } from './tensor.js';

/** Tensors by name. */
export type Tensors = Record<string, Tensor>;

export interface ForwardOptions {
  /** Time every step of this call; `model.profile()` sums up. */
  readonly profile?: boolean;
}

export class Model {
  readonly manifest: Manifest;
  #instance: Instance | undefined;
  #profiler: Profiler;

  constructor(instance: Instance) {
    this.manifest = instance.manifest;
    this.#instance = instance;
    this.#profiler = new Profiler(instance.manifest);
  }

  get inputs(): readonly TensorInfo[] {
    return this.manifest.inputs;
  }

  get outputs(): readonly TensorInfo[] {
    return this.manifest.outputs;
  }

  get disposed(): boolean {
    return this.#instance === undefined;
  }

  /** Outputs by name for inputs by name; a model with one input takes the tensor alone. Inputs are copied. */
  async forward(inputs: Readonly<Tensors> | Tensor, options: ForwardOptions = {}): Promise<Tensors> {
    const instance = this.#instance;
    if (instance === undefined) {
      throw new WasmTorchError('disposed', `The model '${this.manifest.model}' was disposed.`, { hint: 'load it again' });
    }
    const named = this.#named(inputs);
    this.inputs.forEach((info) => check(info, named[info.name]));
    this.inputs.forEach((info) => instance.write(info, named[info.name]!));
    const run = (first: number, last: number) => instance.run(first, last);
    if (options.profile) this.#profiler.measure(run);
    else run(0, this.manifest.steps.length);
    return Object.fromEntries(this.outputs.map((info) => [info.name, instance.read(info)]));
  }

  /** Timings of all calls with `{profile: true}` since the last reset. */
  profile(): Profile {
    return this.#profiler.summary();
  }

  resetProfile(): void {
    this.#profiler = new Profiler(this.manifest);
  }

  /** Gives the module and its memory up. Harmless when repeated. */
  dispose(): void {
    this.#instance = undefined;
  }

  #named(inputs: Readonly<Tensors> | Tensor): Readonly<Tensors> {
    const expected = this.inputs.map(({ name }) => `'${name}'`).join(', ') || 'none';
    if (inputs instanceof Tensor) {
      const only = this.inputs[0];
      if (only === undefined || this.inputs.length > 1) {
        throw new WasmTorchError('invalid-argument', `The model has ${this.inputs.length} inputs; found one tensor without a name.`, { hint: `pass {name: tensor} for ${expected}` });
      }
      return { [only.name]: inputs };
    }
    if (typeof inputs !== 'object' || inputs === null) {
      throw new WasmTorchError('invalid-argument', `forward takes tensors by name; found ${inputs === null ? 'null' : typeof inputs}.`, { hint: `pass {name: tensor} for ${expected}` });
    }
    const unknown = Object.keys(inputs).find((name) => !this.inputs.some((info) => info.name === name));
    if (unknown !== undefined) {
      throw new WasmTorchError('unknown-input', `The model has no input '${unknown}'.`, { hint: `its inputs are ${expected}` });
    }
    return inputs;
  }
}

/** Throws unless `tensor` is what the model takes as this input. */
function check(info: TensorInfo, tensor: Tensor | undefined): void {
  const expected = `${info.dtype} ${formatShape(info.shape)}`;
  if (tensor === undefined) {
    throw new WasmTorchError('missing-input', `Input '${info.name}' is missing.`, { hint: `pass {${JSON.stringify(info.name)}: tensor} of ${expected}` });
  }
  if (!(tensor instanceof Tensor)) {
    throw new WasmTorchError('invalid-argument', `Input '${info.name}': expected a tensor of ${expected}, found ${typeof tensor}.`, {
      hint: `wrap the data: createTensor(data, ${formatShape(info.shape)}, '${info.dtype}')`,
    });
  }
  if (tensor.dtype !== info.dtype) {
    throw new WasmTorchError('dtype-mismatch', `Input '${info.name}': expected ${info.dtype}, found ${tensor.dtype}.`, {
      hint: `createTensor(data, shape, '${info.dtype}') converts`,
    });
  }
  if (formatShape(tensor.shape) !== formatShape(info.shape)) {
    throw new WasmTorchError('shape-mismatch', `Input '${info.name}': expected shape ${formatShape(info.shape)}, found ${formatShape(tensor.shape)}.`, {
      hint: 'the shape was fixed at export; other sizes need another export with `--dim`',
    });
  }
  // A disposed tensor throws here, before anything is written.
  void tensor.data;
}
