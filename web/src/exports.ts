// What every platform's entry gives away besides WASMTorch. It adds nothing of its own.

export type { CacheOption } from './cache.js';
export type { DType, TypedArray } from './dtype.js';
export { type ErrorCode, WasmTorchError } from './errors.js';
export type { MemoryStats } from './instance.js';
export type { LoadOptions, Progress } from './load.js';
export type { Manifest, MemoryInfo, StepInfo, TensorInfo } from './manifest.js';
export { type ForwardOptions, Model, type Tensors } from './model.js';
export { type MonitorStats, PerformanceMonitor } from './monitor.js';
export { imageToTensor, type ImageOptions, type Ranked, softmax, topK } from './preprocess.js';
export type { OperationTime, Profile, ProfilingData, StepProfile } from './profile.js';
export { type Capabilities, type InitOptions, type ModelOptions, Runtime } from './runtime.js';
export type { ModuleSource } from './source.js';
export { readManifest } from './stream.js';
export { createTensor, type NestedArray, Tensor } from './tensor.js';
export { selectVariant, type Variant, type VariantName } from './variant.js';
