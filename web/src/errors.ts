// The one error type of the package and its codes. It decides nothing: whoever finds a problem words it.

/** What went wrong, for programs. The message says it for people. */
export type ErrorCode =
  | 'invalid-module'
  | 'unsupported-abi'
  | 'no-simd'
  | 'unsupported-feature'
  | 'corrupted'
  | 'fetch-failed'
  | 'missing-input'
  | 'unknown-input'
  | 'missing-state'
  | 'unknown-state'
  | 'shape-mismatch'
  | 'dtype-mismatch'
  | 'invalid-argument'
  | 'out-of-memory'
  | 'execution-failed'
  | 'cancelled'
  | 'worker-failed'
  | 'disposed';

/** Every error that this package throws on purpose. */
export class WasmTorchError extends Error {
  override readonly name = 'WasmTorchError';
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly layers: readonly string[];

  /** `hint`: what to do about it, one plain sentence; `cause`: the error of the engine underneath; `layers`: of the step that failed, as PyTorch named them. */
  constructor(code: ErrorCode, message: string, hint?: string, cause?: unknown, layers: readonly string[] = []) {
    super(message + (hint ? `\nhint: ${hint}` : ''), { cause });
    this.code = code;
    this.hint = hint;
    this.layers = layers;
  }
}

/** A file that is not what was written. */
export function damaged(message: string, cause?: unknown, how = 'damaged'): WasmTorchError {
  return new WasmTorchError('invalid-module', message, `the file is ${how}: load or export it again`, cause);
}

export function noMemory(message: string, cause: unknown): WasmTorchError {
  return new WasmTorchError('out-of-memory', `${message}: ${messageOf(cause)}.`, 'dispose models that are no longer used, or close other tabs', cause);
}

/** An error as it travels between threads, where its class is lost. */
export interface PlainError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint: string | undefined;
  readonly layers: readonly string[];
}

export function toPlain(error: unknown): PlainError {
  const found = error instanceof WasmTorchError ? error : new WasmTorchError('execution-failed', messageOf(error));
  // The message of an error is no field of its own that a copy would have.
  return { ...found, message: found.message };
}

export function fromPlain(plain: PlainError): WasmTorchError {
  return Object.assign(new WasmTorchError(plain.code, plain.message), plain);
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
