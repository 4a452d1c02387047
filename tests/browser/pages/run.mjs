// A page's or worker's part of the loader tests: loads `options.url`, runs y = 2x, says what it found. It asserts nothing.

export async function run({ WASMTorch }, { url, init, ...options }) {
  try {
    const runtime = await WASMTorch.init(init);
    const progress = [];
    const model = await runtime.loadModel(url, { ...options, onProgress: (now) => progress.push(now) });
    await model.warmup(1);
    const { y } = await model.forward(runtime.createTensor([[1, 2, 3], [4, 5, 6]]));
    const found = {
      y: [...y.data],
      variant: model.variant,
      threads: model.threads,
      why: { ...runtime.capabilities().why, ...model.why },
      loaded: progress.at(-1)?.loaded,
      memory: model.getMemoryStats(),
    };
    await model.dispose();
    return found;
  } catch (error) {
    return { error: error.message, code: error.code };
  }
}
