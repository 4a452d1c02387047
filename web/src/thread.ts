// The script of one thread in a browser. See thread-body.ts.

import { runThread } from './thread-body.js';

onmessage = ({ data }) => void runThread(data, (failure) => postMessage(failure));
