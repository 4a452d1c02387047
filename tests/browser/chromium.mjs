// Starts the machine's Chromium, headless, with a new empty profile. It installs nothing.

import { existsSync } from 'node:fs';

import { chromium } from 'playwright-core';

const PLACES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

/** Playwright adds `--user-data-dir=<new empty folder>` and removes the folder afterwards. */
const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-dev-shm-usage',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** Path of the browser: the environment's CHROMIUM, or a usual place; undefined when there is none. */
export function findChromium() {
  const asked = process.env.CHROMIUM;
  return asked ? asked : PLACES.find((path) => existsSync(path));
}

/** A running browser; close it with `close()`. */
export async function launchChromium(flags = []) {
  const executablePath = findChromium();
  if (executablePath === undefined) {
    throw new Error('Chromium was not found in the usual places.\nhint: apt-get install -y --no-install-recommends chromium, or set CHROMIUM to its path');
  }
  return chromium.launch({ executablePath, args: [...FLAGS, ...flags] });
}

/** A page in a context, and so a renderer process, of its own. Errors inside it go to stderr under `name`. */
export async function openPage(browser, url, name = 'page') {
  const context = await browser.newContext();
  const page = await context.newPage();
  page.on('pageerror', (error) => console.error(`${name}: ${error.message}`));
  page.on('console', (message) => {
    if (message.type() === 'error') console.error(`${name}: ${message.text()}`);
  });
  page.setDefaultTimeout(0);
  await page.goto(url);
  return page;
}
