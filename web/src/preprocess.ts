// From pictures to input tensors and from outputs to answers: what nearly every page needs around a model. It runs no model.

import { isHalf } from './dtype.js';
import { WasmTorchError } from './errors.js';
import { Tensor } from './tensor.js';

export interface ImageOptions {
  /** Height and width of the tensor; a number for both. By default the image's own. */
  readonly size?: number | readonly [height: number, width: number];
  /** Fill the whole size (the default), or cut the largest middle part of the right shape out first. */
  readonly fit?: 'stretch' | 'crop';
  /** Subtracted from each channel in 0..1, per channel or for all. 0 by default. */
  readonly mean?: number | readonly number[];
  /** What each channel is divided by then. 1 by default. */
  readonly std?: number | readonly number[];
  readonly layout?: 'nchw' | 'nhwc';
  /** 3 for RGB (the default), 1 for luminance. */
  readonly channels?: 1 | 3;
}

/** Pixels, or something that a canvas can draw. */
export type ImageSource = ImageData | ImageBitmap | VideoFrame | HTMLImageElement | HTMLVideoElement | HTMLCanvasElement | OffscreenCanvas | PixelData;

/** RGBA bytes, as in ImageData; for places that have no ImageData. */
export interface PixelData {
  readonly data: Uint8ClampedArray | Uint8Array;
  readonly width: number;
  readonly height: number;
}

/** Rec. 601 luma, as in PIL and OpenCV. */
const LUMA = [0.299, 0.587, 0.114];

/**
 * An f32 tensor [1, C, H, W] (or [1, H, W, C]) with the values (pixel / 255 − mean) / std.
 * Resizes bilinearly, averaging where it shrinks, as torchvision's `Resize(antialias=True)` does.
 */
export function imageToTensor(source: ImageSource, options: ImageOptions = {}): Tensor {
  const image = pixels(source);
  const { size = [image.height, image.width], fit = 'stretch', layout = 'nchw', channels = 3 } = options;
  const [height, width] = typeof size === 'number' ? [size, size] : size;
  const scale = fit === 'crop' ? Math.min(image.height / height, image.width / width) : 0;
  const [tall, wide] = fit === 'crop' ? [height * scale, width * scale] : [image.height, image.width];
  const rows = weights((image.height - tall) / 2, tall, height, image.height);
  const columns = weights((image.width - wide) / 2, wide, width, image.width);
  const narrow = resample(image.data, image.height, image.width, 4, columns);
  const rgba = resample(narrow, 1, image.height, width * 4, rows);
  const plane = height * width;
  const out = new Float32Array(channels * plane);
  const per = (value: number | readonly number[] | undefined, channel: number, otherwise: number) => (typeof value === 'number' ? value : (value?.[channel] ?? otherwise));
  for (let channel = 0; channel < channels; channel++) {
    const mean = per(options.mean, channel, 0);
    const std = per(options.std, channel, 1);
    for (let pixel = 0; pixel < plane; pixel++) {
      const at = pixel * 4;
      const value = channels === 3 ? rgba[at + channel]! : LUMA.reduce((sum, share, i) => sum + share * rgba[at + i]!, 0);
      out[layout === 'nchw' ? channel * plane + pixel : pixel * channels + channel] = (value / 255 - mean) / std;
    }
  }
  return new Tensor(out, layout === 'nchw' ? [1, channels, height, width] : [1, height, width, channels], 'f32');
}

function pixels(source: ImageSource): PixelData {
  if ('data' in source) return source;
  if (typeof OffscreenCanvas === 'undefined') {
    throw new WasmTorchError('invalid-argument', 'There is no canvas here to read this image with.', 'pass {data, width, height} with RGBA bytes');
  }
  // Frames, videos and images call their own size by other names.
  const sizes = source as unknown as Record<string, number | undefined>;
  const [width, height] = ['Width', 'Height'].map((side) => sizes[`display${side}`] ?? sizes[`video${side}`] ?? sizes[`natural${side}`] ?? sizes[side.toLowerCase()]) as [number, number];
  const context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true })!;
  context.drawImage(source, 0, 0);
  return context.getImageData(0, 0, width, height);
}

/** For each of `count` outputs over `start..start + length`: the first input and the inputs' weights, a triangle that sums to 1. */
function weights(start: number, length: number, count: number, limit: number): { first: number; parts: number[] }[] {
  const scale = length / count;
  const reach = Math.max(scale, 1);
  return Array.from({ length: count }, (_, i) => {
    const centre = start + (i + 0.5) * scale;
    const first = Math.max(0, Math.floor(centre - reach + 0.5));
    const last = Math.min(limit, Math.max(first + 1, Math.floor(centre + reach + 0.5)));
    const raw = Array.from({ length: last - first }, (_, j) => Math.max(0, 1 - Math.abs(first + j + 0.5 - centre) / reach));
    const sum = raw.reduce((total, part) => total + part, 0) || 1;
    return { first, parts: raw.map((part) => part / sum) };
  });
}

/** Resamples the middle one of three dimensions. */
function resample(from: ArrayLike<number>, outer: number, length: number, inner: number, outputs: ReturnType<typeof weights>): Float32Array {
  const out = new Float32Array(outer * outputs.length * inner);
  let to = 0;
  for (let row = 0; row < outer; row++) {
    for (const { first, parts } of outputs) {
      for (let i = 0; i < inner; i++) {
        let sum = 0;
        parts.forEach((part, j) => (sum += part * from[(row * length + first + j) * inner + i]!));
        out[to++] = sum;
      }
    }
  }
  return out;
}

/** Along the last dimension, in f32. Half-precision tensors are not taken: their data are bits. */
export function softmax(tensor: Tensor): Tensor {
  const values = numbers(tensor);
  const width = tensor.shape.at(-1) ?? 1;
  const out = new Float32Array(values.length);
  for (let row = 0; row < values.length; row += width) {
    let most = -Infinity;
    for (let i = row; i < row + width; i++) most = Math.max(most, values[i]!);
    let sum = 0;
    for (let i = row; i < row + width; i++) sum += Math.exp(values[i]! - most);
    for (let i = row; i < row + width; i++) out[i] = Math.exp(values[i]! - most) / sum;
  }
  return new Tensor(out, tensor.shape, 'f32');
}

/** One of the largest values. */
export interface Ranked {
  readonly index: number;
  readonly value: number;
  readonly label: string | undefined;
}

/** The `k` largest elements, largest first; of equal ones the first. NaN counts as the smallest. */
export function topK(tensor: Tensor, k = 5, labels?: readonly string[]): Ranked[] {
  const values = numbers(tensor);
  const rank = (index: number) => (Number.isNaN(values[index]) ? -Infinity : values[index]!);
  const order = Array.from({ length: values.length }, (_, index) => index).sort((a, b) => (rank(b) > rank(a) ? 1 : rank(b) < rank(a) ? -1 : a - b));
  return order.slice(0, k).map((index) => ({ index, value: values[index]!, label: labels?.[index] }));
}

function numbers({ data, dtype }: Tensor): ArrayLike<number> {
  if (isHalf(dtype)) throw new WasmTorchError('dtype-mismatch', `The elements of ${dtype} tensors are bits.`, 'export the model with an f32 output');
  return data instanceof BigInt64Array || data instanceof BigUint64Array ? Array.from(data as Iterable<bigint>, Number) : data;
}
