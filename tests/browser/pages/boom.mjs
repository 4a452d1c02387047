// The worker of a model that throws when it is told to.

import '/web/index.js';

addEventListener('message', ({ data }) => {
  if (data === 'boom') throw new Error('boom');
});
