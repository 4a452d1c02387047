// The script of a model's worker in a browser.

import { serveModels } from './index.js';

serveModels();
