// The worker of a model in a browser that takes its time to grant locks.

const { request } = navigator.locks;
navigator.locks.request = async (...asked) => {
  await new Promise((resolve) => setTimeout(resolve, 300));
  return request.apply(navigator.locks, asked);
};
await import('/web/index.js');
