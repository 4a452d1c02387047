// Everything that runs everywhere, as one file of the package: the entries for pages, workers and Node share it.

export * from './exports.js';
export { Engine } from './engine.js';
export { fromPlain, toPlain } from './errors.js';
export { type Platform, type Port, workerPort } from './port.js';
export { entry } from './runtime.js';
