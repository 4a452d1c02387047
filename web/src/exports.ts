// What every platform's entry gives away besides WASMTorch. It adds nothing of its own.

export type { DType, TypedArray } from './dtype.js';
export { type ErrorCode, WasmTorchError } from './errors.js';
export type { ModuleSource } from './load.js';
export type { Manifest, MemoryInfo, StepInfo, TensorInfo } from './manifest.js';
export { type ForwardOptions, Model, type Tensors } from './model.js';
export type { Profile, StepProfile } from './profile.js';
export { Runtime } from './runtime.js';
export { createTensor, type NestedArray, Tensor } from './tensor.js';
