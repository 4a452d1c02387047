// Asks for one module after the other and runs each in a worker of its own, whose memory is free again when it ends.
for (;;) {
  const response = await fetch('/next');
  if (!response.ok) break;
  const [steps, rounds] = ['steps', 'rounds'].map((name) => Number(response.headers.get(name)));
  const bytes = await response.arrayBuffer();
  const worker = new Worker('/worker.js', { type: 'module' });
  const answer = await new Promise((resolve) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = ({ message }) => resolve({ error: message || 'the worker did not start' });
    worker.postMessage([bytes, steps, rounds], [bytes]);
  });
  worker.terminate();
  await fetch('/times', { method: 'POST', body: JSON.stringify(answer) });
}
