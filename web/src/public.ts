// The names that every entry gives away, from the shared file.

export { createTensor, imageToTensor, Model, PerformanceMonitor, readManifest, Runtime, selectVariant, softmax, Tensor, topK, WasmTorchError } from './core.js';
export type * from './exports.js';
