// A model that runs in a worker, seen from the page: sends calls and notices when the worker dies.

import { unlessAborted } from './abort.js';
import type { TypedArray } from './dtype.js';
import type { Backend, CallOptions, CallResult, ModelInfo, Settings } from './engine.js';
import { fromPlain, messageOf, type PlainError, WasmTorchError } from './errors.js';
import type { MemoryStats } from './instance.js';
import type { LoadedModule, LoadOptions, Progress } from './load.js';
import type { Platform, Port } from './port.js';
import type { ModuleFile } from './stream.js';
import type { ThreadStart, Watch } from './threads.js';
import type { Variant } from './variant.js';

/** What the page asks of the worker. `arena` is a number that the worker gave. */
export type Request =
  | {
      /** The file follows in pieces; where one is missing it ends. */
      readonly kind: 'load';
      readonly file: RemoteFile;
      readonly variant: Variant;
      readonly settings: Settings;
      readonly options: RemoteLoadOptions;
    }
  | { readonly kind: 'start'; readonly loaded: LoadedModule; readonly settings: Settings }
  | { readonly kind: 'call'; readonly arena: number; readonly inputs: TypedArray[]; readonly options: CallOptions; readonly cancellable: boolean }
  | { readonly kind: 'state'; readonly arena: number; readonly arrays: TypedArray[] | undefined }
  | { readonly kind: 'share' | 'dispose'; readonly arena: number };

/** What the page says without an answer. */
export type Notice = { readonly kind: 'pieces'; readonly pieces: readonly (Uint8Array | undefined)[] } | { readonly kind: 'thread-failed'; readonly message: string } | { readonly kind: 'cancel' };

/** What the worker is told of a file besides its pieces. */
export type RemoteFile = Pick<ModuleFile, 'manifest' | 'position' | 'url'>;

export type RemoteLoadOptions = Pick<LoadOptions, 'cache' | 'integrity' | 'stallTimeout'>;

export interface Loaded {
  readonly info: ModelInfo;
  readonly memory: MemoryStats;
  readonly stopFlag: Int32Array | undefined;
}

/** What the worker says: first its lock, later answers, how far a load is and what threads it has. */
export interface Reply {
  readonly id?: number;
  readonly value?: unknown;
  readonly error?: PlainError;
  readonly progress?: Progress;
  /** The worker holds this lock as long as it lives; empty where there are no locks. */
  readonly lock?: string;
  /** Threads of the model in the worker. */
  readonly watch?: Watch;
  /** A thread that the page is to start for the model; null: they are to end. */
  readonly thread?: ThreadStart | null;
}

/** One worker and what it was asked. */
export class Connection {
  /** Resolves when the worker's script runs and its end would be noticed, however it comes. */
  readonly alive: Promise<void>;
  onProgress: ((progress: Progress) => void) | undefined;
  stopFlag: Int32Array | undefined;
  users = 1;
  readonly #port: Port;
  readonly #startThread: Platform['startThread'];
  #threads: Port[] = [];
  readonly #pending = new Map<number, { readonly resolve: (value: never) => void; readonly reject: (error: unknown) => void }>();
  #next = 0;
  #failure: WasmTorchError | undefined;

  constructor(port: Port, startThread: Platform['startThread']) {
    this.#port = port;
    this.#startThread = startThread;
    this.alive = new Promise((resolve, reject) => {
      port.listen(
        ({ id, value, error, progress, lock, watch, thread }: Reply) => {
          if (progress !== undefined) return this.onProgress?.(progress);
          if (watch !== undefined) return watchThreads(watch);
          if (thread !== undefined) return thread === null ? this.#endThreads() : this.#start(thread);
          if (lock !== undefined) {
            onceFree(lock, () => this.fail('The worker died.'));
            return resolve();
          }
          const pending = this.#pending.get(id!);
          this.#pending.delete(id!);
          if (error === undefined) pending?.resolve(value as never);
          else pending?.reject(fromPlain(error));
        },
        (message) => {
          this.fail(`The worker failed: ${message}.`);
          reject(this.#failure);
        },
      );
    });
    this.alive.catch(() => {});
  }

  ask<T>(request: Request, transfer?: Transferable[]): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) throw this.#failure;
      // What cannot be posted throws here, and so rejects.
      this.tell({ ...request, id: this.#next }, transfer);
      this.#pending.set(this.#next++, { resolve, reject });
    });
  }

  /** Says something that has no answer. */
  tell(request: Notice | (Request & { id: number }), transfer?: Transferable[]): void {
    this.#port.post(request, transfer);
  }

  /** Ends the worker; what was asked and is not answered fails with `error`. */
  end(error: unknown): void {
    this.#port.terminate();
    this.#endThreads();
    this.#failure ??= error instanceof WasmTorchError ? error : new WasmTorchError('disposed', 'The model was disposed.');
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
  }

  #start(thread: ThreadStart): void {
    const failed = (message: string) => this.tell({ kind: 'thread-failed', message });
    try {
      const port = this.#startThread!();
      this.#threads.push(port);
      port.listen(failed, failed);
      port.post(thread);
    } catch (error) {
      failed(messageOf(error));
    }
  }

  #endThreads(): void {
    for (const port of this.#threads) port.terminate();
    this.#threads = [];
  }

  fail(message: string): void {
    this.end(new WasmTorchError('worker-failed', message, 'load the model again'));
  }
}

/** Calls `then` when whoever holds the lock is gone, however it went. Where there is no lock it has no name. */
function onceFree(lock: string, then: () => void): void {
  if (lock !== '') navigator.locks.request(lock, then).catch(() => {});
}

/** Tells a model of its threads' ends: its own thread waits for them in the module and hears nothing else. */
function watchThreads({ flag, locks }: Watch): void {
  for (const lock of locks) onceFree(lock, () => void Atomics.store(flag, 0, 1));
}

export class Remote implements Backend {
  info: ModelInfo;
  memory: MemoryStats;
  readonly #connection: Connection;
  readonly #arena: number;

  private constructor(connection: Connection, arena: number, info: ModelInfo, memory: MemoryStats) {
    this.#connection = connection;
    this.#arena = arena;
    this.info = info;
    this.memory = memory;
  }

  /** Starts a model in the worker, or loads it there. */
  static async start(connection: Connection, request: Request, signal: AbortSignal | undefined): Promise<Remote> {
    try {
      const { info, memory, stopFlag } = await unlessAborted(connection.ask<Loaded>(request), signal);
      connection.stopFlag = stopFlag;
      return new Remote(connection, 0, info, memory);
    } catch (error) {
      connection.end(error);
      throw error;
    }
  }

  /** Loads in the worker, which gets the file's pieces from here: they arrived while it started. */
  static load(connection: Connection, file: ModuleFile, variant: Variant, settings: Settings, options: LoadOptions): Promise<Remote> {
    const { signal, onProgress, cache, integrity, stallTimeout } = options;
    const { manifest, position, url } = file;
    const loading = Remote.start(connection, { kind: 'load', file: { manifest, position, url }, variant, settings, options: { cache, integrity, stallTimeout } }, signal);
    feed(connection, file, onProgress).catch((error) => connection.end(error));
    return loading;
  }

  async call(inputs: TypedArray[], { signal, transfer, ...options }: CallOptions): Promise<CallResult> {
    const connection = this.#connection;
    const { stopFlag } = connection;
    const sent = inputs.map((input) => (transfer && input.byteLength === input.buffer.byteLength && input.buffer instanceof ArrayBuffer ? input : input.slice()));
    const buffers = [...new Set(sent.map(({ buffer }) => buffer as ArrayBuffer))];
    if (stopFlag !== undefined) Atomics.store(stopFlag, 0, 0);
    const cancel = () => (stopFlag === undefined ? connection.tell({ kind: 'cancel' }) : void Atomics.store(stopFlag, 0, 1));
    signal?.addEventListener('abort', cancel);
    try {
      const cancellable = signal !== undefined && stopFlag === undefined;
      const result = await connection.ask<CallResult>({ kind: 'call', arena: this.#arena, inputs: sent, options, cancellable }, buffers);
      this.memory = result.memory;
      this.info = { ...this.info, ...result.state };
      return result;
    } finally {
      signal?.removeEventListener('abort', cancel);
    }
  }

  state(arrays?: TypedArray[]): Promise<TypedArray[]> {
    return this.#connection.ask({ kind: 'state', arena: this.#arena, arrays });
  }

  async share(): Promise<Remote> {
    const { arena, memory } = await this.#connection.ask<{ arena: number; memory: MemoryStats }>({ kind: 'share', arena: this.#arena });
    this.#connection.users += 1;
    return new Remote(this.#connection, arena, this.info, memory);
  }

  async dispose(): Promise<void> {
    const connection = this.#connection;
    connection.users -= 1;
    await connection.ask({ kind: 'dispose', arena: this.#arena }).catch(() => {});
    if (connection.users === 0) connection.end(undefined);
  }
}

/** Bytes that may be under way to the worker. */
const WINDOW = 16 << 20;

/** Bytes of pieces that go together; the first so many, with the manifest and the code, go as they come. */
const BATCH = 1 << 18;

/** Hands the file's pieces over as they come; progress is what the worker has taken. */
async function feed(connection: Connection, { next, held, position }: ModuleFile, onProgress: LoadOptions['onProgress']): Promise<void> {
  let sent = position;
  let taken = position;
  let wake = () => {};
  connection.onProgress = (progress) => {
    taken = progress.loaded;
    wake();
    onProgress?.(progress);
  };
  for (let start = 0, pieces: (Uint8Array | undefined)[] = []; ; ) {
    while (sent - taken > WINDOW) await new Promise<void>((resolve) => (wake = resolve));
    let piece = await next();
    if (held) piece = piece?.slice();
    pieces.push(piece);
    sent += piece?.length ?? 0;
    if (piece === undefined || sent < BATCH || sent - start > BATCH) {
      connection.tell({ kind: 'pieces', pieces }, pieces.flatMap((one) => (one?.buffer as ArrayBuffer) ?? []));
      if (piece === undefined) return;
      pieces = [];
      start = sent;
    }
  }
}
