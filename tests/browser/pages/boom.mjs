// The worker of a model that throws when it is told to.

import '/web/worker.js';

addEventListener('message', ({ data }) => {
  if (data === 'boom') throw new Error('boom');
});
