// From pictures to input tensors and from outputs to answers: what nearly every page needs around a model. It runs no model.

import { convert, isHalf } from './dtype.js';
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

/**
 * An f32 tensor [1, C, H, W] (or [1, H, W, C]) with the values (pixel / 255 − mean) / std.
 * Resizes bilinearly, averaging where it shrinks, as torchvision's `Resize(antialias=True)` does.
 */
export function imageToTensor(source: ImageSource, options: ImageOptions = {}): Tensor {
  const { data, width: across, height: down } = pixels(source);
  const { size = [down, across], mean = 0, std = 1, channels = 3 } = options;
  const height = of(size, 0);
  const width = of(size, 1);
  const least = Math.min(down / height, across / width);
  /** For each of `count` outputs the inputs that it averages, along one dimension, with shares that form a triangle. */
  const averaged = (length: number, count: number) => {
    const scale = options.fit === 'crop' ? least : length / count;
    const reach = Math.max(scale, 1);
    return Array.from({ length: count }, (_, i) => {
      const centre = (length - 1 + (2 * i + 1 - count) * scale) / 2;
      const inputs = [];
      for (let at = Math.max(0, Math.floor(centre - reach) + 1); at < Math.min(length, centre + reach); at++) inputs.push({ at, share: reach - Math.abs(at - centre) });
      return inputs;
    });
  };
  const columns = averaged(across, width);
  const last = options.layout === 'nhwc';
  const out = new Float32Array(channels * height * width);
  let pixel = 0;
  for (const row of averaged(down, height)) {
    for (const column of columns) {
      let [red, green, blue, total] = [0, 0, 0, 0];
      for (const upper of row) {
        for (const left of column) {
          const at = 4 * (upper.at * across + left.at);
          const share = upper.share * left.share;
          red += share * data[at]!;
          green += share * data[at + 1]!;
          blue += share * data[at + 2]!;
          total += share;
        }
      }
      // Rec. 601 luma, as in PIL and OpenCV.
      const colors = channels === 3 ? [red, green, blue] : [0.299 * red + 0.587 * green + 0.114 * blue];
      colors.forEach((color, channel) => {
        out[last ? pixel * channels + channel : channel * height * width + pixel] = (color / total / 255 - of(mean, channel)) / of(std, channel);
      });
      pixel++;
    }
  }
  return new Tensor(out, last ? [1, height, width, channels] : [1, channels, height, width], 'f32');
}

/** One of several values, or the one for all: a number has no elements. */
function of(value: number | readonly number[], which: number): number {
  return (value as readonly number[])[which] ?? (value as number);
}

function pixels(source: ImageSource): PixelData {
  if ('data' in source) return source;
  if (typeof OffscreenCanvas === 'undefined') {
    throw new WasmTorchError('invalid-argument', 'No canvas here can read this image.', 'pass {data, width, height} with RGBA bytes');
  }
  // Frames, videos and images call their own size by other names.
  const sizes = source as Partial<HTMLImageElement & HTMLVideoElement & VideoFrame>;
  const width = sizes.displayWidth ?? sizes.videoWidth ?? sizes.naturalWidth ?? sizes.width!;
  const height = sizes.displayHeight ?? sizes.videoHeight ?? sizes.naturalHeight ?? sizes.height!;
  const context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true })!;
  context.drawImage(source, 0, 0);
  return context.getImageData(0, 0, width, height);
}

/** Along the last dimension, in f32. Half-precision tensors are not taken: their data are bits. */
export function softmax(tensor: Tensor): Tensor {
  const values = numbers(tensor);
  const width = tensor.shape.at(-1) ?? 1;
  for (let row = 0; row < values.length; row += width) {
    let most = -Infinity;
    let sum = 0;
    for (let i = row; i < row + width; i++) most = Math.max(most, values[i]!);
    for (let i = row; i < row + width; i++) sum += values[i] = Math.exp(values[i]! - most);
    for (let i = row; i < row + width; i++) values[i]! /= sum;
  }
  return new Tensor(new Float32Array(values), tensor.shape, 'f32');
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
  const ranks = values.map((value) => (Number.isNaN(value) ? -Infinity : value));
  const order = [...values.keys()].sort((a, b) => ranks[b]! - ranks[a]!);
  return order.slice(0, k).map((index) => ({ index, value: values[index]!, label: labels?.[index] }));
}

function numbers({ data, dtype }: Tensor): Float64Array {
  if (isHalf(dtype)) throw new WasmTorchError('dtype-mismatch', `The elements of ${dtype} tensors are bits.`, 'export the model with an f32 output');
  return convert(data, 'f64') as Float64Array;
}
