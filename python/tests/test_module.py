"""Modules: calls, what is refused, copies for other processes, limits, the cache of compiled code."""

import os
import pathlib
import pickle
import statistics
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
from conftest import DIGITS, run_python

import wasm_torch


def test_calls_take_arrays_by_position_and_name(digits, image):
    module = wasm_torch.load(digits)
    (port,) = module.inputs
    assert port.shape == (1, 1, 28, 28) and port.dtype == np.float32
    logits = module(image)
    assert logits.shape == (1, 10) and logits.dtype == np.float32
    for again in (module(**{port.name: image}), module({port.name: image}), module.run(image)[module.outputs[0].name], module(image.tolist())):
        assert np.array_equal(again, logits)
    strided = np.repeat(image, 2, axis=3)[..., ::2]
    assert not strided.flags.c_contiguous and np.array_equal(module(strided), logits)
    assert "f32[1, 1, 28, 28]" in repr(module)
    assert np.array_equal(wasm_torch.load(digits.read_bytes())(image), logits)


def test_results_agree_with_the_definition(digits, image):
    from wasm_torch.backend import reference

    (expected,) = reference(DIGITS)([image])
    assert np.abs(wasm_torch.load(digits)(image) - expected).max() <= 1e-4 * np.abs(expected).max()


def test_earlier_outputs_stay(digits, image):
    module = wasm_torch.load(digits)
    first = module(image)
    kept = first.copy()
    assert not np.array_equal(module(1 - image), kept)
    assert np.array_equal(first, kept)


@pytest.mark.parametrize("element", ["float32", "float64", "float16", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"])
def test_every_element_type_crosses_the_border(operator_module, element):
    x = np.arange(6).reshape(2, 3).astype(element)
    y = wasm_torch.load(operator_module("Transpose", x))(x)
    assert y.dtype == x.dtype and np.array_equal(y, x.T)


def test_several_outputs_are_a_tuple(operator_module):
    x = np.arange(6, dtype=np.float32)
    module = wasm_torch.load(operator_module("Split", x, outputs=2, num_outputs=2))
    assert [part.tolist() for part in module(x)] == [[0, 1, 2], [3, 4, 5]]
    assert list(module.run(x)) == ["y0", "y1"]


@pytest.mark.parametrize(
    "call, error, text",
    [
        (lambda m, x: m(x[0]), wasm_torch.ShapeError, "array[None]"),
        (lambda m, x: m(x.astype(np.float64)), ValueError, "astype(numpy.float32)"),
        (lambda m, x: m(), ValueError, "missing"),
        (lambda m, x: m(x, x), TypeError, "takes 1 inputs"),
        (lambda m, x: m(imgae=x), ValueError, "no input `imgae`"),
        (lambda m, x: m("image.png"), TypeError, "str"),
        (lambda m, x: m(None), TypeError, "NoneType"),
        (lambda m, x: m([object()]), TypeError, "list"),
        (lambda m, x: m(x.astype(np.complex64)), TypeError, "complex64"),
    ],
)
def test_wrong_inputs_are_explained(digits, image, call, error, text):
    module = wasm_torch.load(digits)
    with pytest.raises(error) as caught:
        call(module, image)
    assert text in str(caught.value)
    assert module(image).shape == (1, 10)


def test_wrong_files_and_options_are_explained(digits, tmp_path):
    with pytest.raises(FileNotFoundError):
        wasm_torch.load(tmp_path / "missing.wasm")
    with pytest.raises(wasm_torch.ModuleError, match="not a WebAssembly module"):
        wasm_torch.load(DIGITS)
    with pytest.raises(wasm_torch.ModuleError, match="cut off"):
        wasm_torch.load(digits.read_bytes()[:1000])
    with pytest.raises(TypeError):
        wasm_torch.load(5)
    for options in (dict(threads=0), dict(timeout_seconds=0), dict(memory_limit_mb=-1), dict(variant="fast")):
        with pytest.raises(wasm_torch.OptionError):
            wasm_torch.load(digits, **options)


def test_threads_compute_the_same(digits, image):
    one, two = wasm_torch.load(digits, variant="baseline"), wasm_torch.load(digits, threads=2, variant="threads")
    assert two.variant == "threads" and np.array_equal(one(image), two(image))


def _top(module, image):
    return int(module(image).argmax())


def test_modules_can_be_sent_to_other_processes(digits):
    images = np.random.default_rng(0).random((6, 1, 1, 28, 28), np.float32)
    module = wasm_torch.load(digits)
    expected = [_top(module, image) for image in images]
    for source in (module, wasm_torch.load(digits.read_bytes())):
        copy = pickle.loads(pickle.dumps(source))
        assert [_top(copy, image) for image in images] == expected
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        assert list(pool.map(_top, [module] * 6, images)) == expected


def test_a_pickle_does_not_take_another_file(digits, tmp_path, operator_module):
    path = tmp_path / "module.wasm"
    path.write_bytes(digits.read_bytes())
    data = pickle.dumps(wasm_torch.load(path))
    path.write_bytes(operator_module("Relu", np.zeros(3, np.float32)).read_bytes())
    with pytest.raises(wasm_torch.OptionError, match="has changed"):
        pickle.loads(data)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_modules_survive_a_fork(digits, image):
    module = wasm_torch.load(digits)
    expected = _top(module, image)
    with ProcessPoolExecutor(2, mp_context=get_context("fork")) as pool:
        assert list(pool.map(_top, [module] * 4, [image] * 4)) == [expected] * 4


def test_dask_maps_a_module_over_data(digits):
    bag = pytest.importorskip("dask.bag", reason="Dask is not installed: mapping over its collections is not tested")
    images = np.random.default_rng(0).random((8, 1, 1, 28, 28), np.float32)
    module = wasm_torch.load(digits)
    found = bag.from_sequence(list(images), npartitions=2).map(lambda image: _top(module, image)).compute(scheduler="threads")
    assert found == [_top(module, image) for image in images]


def test_calls_from_threads_take_turns(digits):
    images = np.random.default_rng(0).random((16, 1, 1, 28, 28), np.float32)
    module = wasm_torch.load(digits)
    expected = [module(image) for image in images]
    other = module.copy()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda pair: (module if pair[0] % 2 else other)(pair[1]), enumerate(images)))
    assert all(np.array_equal(a, b) for a, b in zip(found, expected))


def test_a_reset_keeps_the_code(digits, image):
    module = wasm_torch.load(digits)
    expected = module(image)
    module.reset()
    assert np.array_equal(module(image), expected)


@pytest.fixture(scope="session")
def slow(operator_module):
    """A module whose one step takes a second or so, and its inputs."""
    x = np.random.default_rng(0).standard_normal((1600, 1600)).astype(np.float32)
    return operator_module("MatMul", x, x), x


def test_a_run_releases_the_interpreter(slow):
    path, x = slow
    module = wasm_torch.load(path)
    done = threading.Event()
    ticks = 0

    def run():
        module(x, x)
        done.set()

    thread = threading.Thread(target=run)
    thread.start()
    while not done.is_set():
        time.sleep(0.001)
        ticks += 1
    thread.join()
    assert ticks > 5


@pytest.mark.parametrize("threads", [1, 2])
def test_a_timeout_leaves_the_module_usable(slow, threads):
    path, x = slow
    module = wasm_torch.load(path, threads=threads, timeout_seconds=0.01)
    for _ in range(2):
        start = time.perf_counter()
        with pytest.raises(wasm_torch.ModuleTimeoutError, match="longer than 0.01 s") as caught:
            module(x, x)
        took = time.perf_counter() - start
        assert isinstance(caught.value, TimeoutError) and caught.value.details["seconds"] == 0.01
    module.timeout_seconds = 600
    expected = wasm_torch.load(path)(x, x)
    start = time.perf_counter()
    assert np.allclose(module(x, x), expected, rtol=1e-4, atol=1e-3)
    print(f"threads {threads}: stopped after {took:.3f} s, a whole run takes {time.perf_counter() - start:.3f} s")


def test_a_memory_limit_is_kept(digits, image):
    needed = wasm_torch.load(digits).manifest["memory"]["initial_pages"] / 16
    for variant in ("baseline", "relaxed", "threads"):
        with pytest.raises(wasm_torch.MemoryLimitError) as caught:
            wasm_torch.load(digits, memory_limit_mb=needed - 0.05, variant=variant)
        assert isinstance(caught.value, MemoryError) and caught.value.details["needed"] == needed * (1 << 20)
        module = wasm_torch.load(digits, memory_limit_mb=needed + 0.05, variant=variant)
        assert module(image).shape == (1, 10) and module.memory()["total"] <= (needed + 0.05) * (1 << 20)


def test_compiled_code_is_kept(digits, image, tmp_path):
    cache = tmp_path / "code"
    expected = wasm_torch.load(digits, cache=False)(image)
    assert not cache.exists()
    assert np.array_equal(wasm_torch.load(digits, cache=cache)(image), expected)
    (file,) = cache.iterdir()
    assert cache.stat().st_mode & 0o77 == 0
    written = file.stat().st_mtime_ns
    times = []
    for _ in range(5):
        start = time.perf_counter()
        module = wasm_torch.load(digits, cache=cache)
        times.append(1e3 * (time.perf_counter() - start))
    assert np.array_equal(module(image), expected) and file.stat().st_mtime_ns == written
    print(f"second load of digits: {statistics.median(times):.1f} ms")
    damaged = bytearray(file.read_bytes())
    damaged[len(damaged) // 2] ^= 255
    file.write_bytes(damaged)
    assert np.array_equal(wasm_torch.load(digits, cache=cache)(image), expected)
    wasm_torch.load(digits)
    assert os.listdir(os.path.join(os.environ["WASM_TORCH_CACHE"], "code"))


def test_profiles_name_the_layers(digits):
    steps = wasm_torch.load(digits).profile(2)
    assert steps and all(step["ms"] >= 0 for step in steps) and any(step["layers"] for step in steps)
    assert wasm_torch.load(digits).bench(3)["runs"] == 3


def test_a_call_costs_little_more_than_the_run(operator_module):
    """At most 30 µs over the bare run of a tiny perceptron."""
    x = np.zeros((1, 16), np.float32)
    module = wasm_torch.load(operator_module("Gemm", x, np.zeros((16, 16), np.float32), np.zeros(16, np.float32)))
    arrays = [np.zeros(port.shape, port.dtype) for port in module.inputs]
    overheads = []
    for _ in range(5):
        bare = module.bench(500)["median_ms"] * 1e3
        times = []
        for _ in range(500):
            start = time.perf_counter()
            module(*arrays)
            times.append((time.perf_counter() - start) * 1e6)
        overheads.append(statistics.median(times) - bare)
    print(f"a call costs {min(overheads):.1f} µs over the run (rounds: {', '.join(f'{o:.1f}' for o in overheads)})")
    assert min(overheads) < 30


def test_loading_needs_no_torch(digits):
    code = """if True:
        import sys
        sys.modules["torch"] = None
        import wasm_torch
        print(wasm_torch.load(sys.argv[1]).variant)
    """
    assert run_python(code, digits).strip() == "relaxed"


def test_state_is_saved_restored_and_reset(tmp_path):
    from wasm_torch import _operator

    x = np.ones((2, 3), np.float32)
    model = _operator.model("Add", (x, x), {}, 1)
    plain = wasm_torch.load(_exported(model, tmp_path / "plain.wasm"))
    output, second = plain.outputs[0].name, plain.inputs[1].name
    module = wasm_torch.load(_exported(model, tmp_path / "sum.wasm", states={output: second}))
    module(x), module(2 * x)
    saved = module.save_state()
    assert list(saved) == [second] and np.array_equal(saved[second], 3 * x)
    module(x)
    module.restore_state(saved)
    module(4 * x)
    assert np.array_equal(module.save_state()[second], 7 * x)
    module.reset()
    assert not module.save_state()[second].any()
    with pytest.raises(wasm_torch.WasmTorchError, match="no state `other`"):
        module.restore_state({"other": x})


def test_state_that_grows(tmp_path):
    model = pathlib.Path(__file__).resolve().parents[2] / "models/cases/flow/growing.onnx"
    module = wasm_torch.load(_exported(model, tmp_path / "growing.wasm", dims={"n": (1, 3), "past": (0, 9)}, states={"present": "history"}))
    rng = np.random.default_rng(3)
    history = np.zeros((1, 0, 2), np.float32)
    for n in (2, 1, 3):
        new, weights = rng.random((1, n, 2), np.float32), rng.random((1, history.shape[1], 1), np.float32)
        assert np.allclose(module(new, weights), (history * weights).sum(1) + new.sum(1), atol=1e-6)
        history = np.concatenate([history, new], 1)
        assert np.array_equal(module.save_state()["history"], history)
    with pytest.raises(wasm_torch.ShapeError, match="`past` is 6 in the state `history`"):
        module(new, weights)
    saved = module.save_state()
    module.reset()
    assert module.save_state()["history"].shape == (1, 0, 2)
    module.restore_state(saved)
    assert np.array_equal(module.save_state()["history"], history)


def test_sizes_that_data_decides(tmp_path):
    model = pathlib.Path(__file__).resolve().parents[2] / "models/cases/flow/found_rows.onnx"
    module = wasm_torch.load(_exported(model, tmp_path / "rows.wasm"))
    x, scores = np.ones((9, 4), np.float32), np.arange(9, dtype=np.float32)
    for least, count in ((6.5, 2), (9, 0), (-1, 9)):
        found = module.run(x, scores, np.float32(least))
        assert [found[name].shape[0] for name in ("y", "top")] == [min(count, 5)] * 2
        assert found["both"].shape == (min(count, 5) + count, 4)
    assert module.dims == {}


def _exported(model, path, **options):
    wasm_torch.export_to_wasm(model, path, progress=False, verify=False, **options)
    return path
