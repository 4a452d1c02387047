// One contender: a page of its own and calls into the module that runs there. The race is race.mjs.

import { openPage } from '../browser/chromium.mjs';

/** The functions a page module may offer, called from here. */
export class Contender {
  constructor(name, page, module) {
    this.name = name;
    this.page = page;
    this.module = module;
  }

  /** Opens a page that has imported `/bench/pages/NAME.mjs`. */
  static async open(browser, origin, name) {
    const page = await openPage(browser, origin, name);
    const module = await page.evaluateHandle((url) => import(url), `/bench/pages/${name}.mjs`);
    return new Contender(name, page, module);
  }

  /** Compiles `url` (ours: the given variant) and runs it once on `feeds`, whose data the page fetches from `feed.url`. */
  prepare(url, feeds = [], variant = 'baseline') {
    return this.module.evaluate(async (module, [url, feeds, variant]) => {
      const arrays = { f32: Float32Array, f64: Float64Array, f16: Uint16Array, i8: Int8Array, u8: Uint8Array, i16: Int16Array, u16: Uint16Array, i32: Int32Array, u32: Uint32Array, i64: BigInt64Array, u64: BigUint64Array, bool: Uint8Array };
      const loaded = await Promise.all(feeds.map(async (feed) => ({ ...feed, data: new arrays[feed.dtype](await (await fetch(feed.url)).arrayBuffer()) })));
      return module.prepare(url, loaded, variant);
    }, [url, feeds, variant]);
  }

  round(calls, repeat = 1) {
    return this.module.evaluate((module, [calls, repeat]) => module.round(calls, repeat), [calls, repeat]);
  }

  profile(calls) {
    return this.module.evaluate((module, calls) => module.profile(calls), calls);
  }

  /** The last outputs as numbers by name. */
  async results() {
    const sent = await this.module.evaluate((module) => {
      const text = (data) => {
        const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
        let out = '';
        for (let i = 0; i < bytes.length; i += 0x8000) out += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
        return btoa(out);
      };
      return Object.entries(module.results()).map(([name, data]) => [name, data.constructor.name, text(data)]);
    });
    return Object.fromEntries(sent.map(([name, array, text]) => {
      const bytes = Uint8Array.from(Buffer.from(text, 'base64'));
      return [name, new globalThis[array](bytes.buffer)];
    }));
  }

  close() {
    return this.page.context().close();
  }
}
