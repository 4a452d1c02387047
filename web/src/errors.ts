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

export interface ErrorOptions {
  /** What to do about it, one plain sentence. */
  hint?: string;
  /** The error of the engine underneath. */
  cause?: unknown;
  /** Layer names of the step that failed, as PyTorch named them. */
  layers?: readonly string[];
}

/** Every error that this package throws on purpose. */
export class WasmTorchError extends Error {
  override readonly name = 'WasmTorchError';
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly layers: readonly string[];

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(options.hint === undefined ? message : `${message}\nhint: ${options.hint}`, { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
    this.layers = options.layers ?? [];
  }
}

/** An error as it travels between threads, where its class is lost. */
export interface PlainError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint: string | undefined;
  readonly layers: readonly string[];
}

export function toPlain(error: unknown): PlainError {
  const { code, hint, layers, message } = error instanceof WasmTorchError ? error : new WasmTorchError('execution-failed', messageOf(error));
  return { code, hint, layers, message };
}

export function fromPlain(plain: PlainError): WasmTorchError {
  return Object.assign(new WasmTorchError(plain.code, plain.message), plain);
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
