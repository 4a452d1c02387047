"""Load: many callers of one module at once, many calls, many modules that come and go. `WASM_TORCH_LONG=1` runs more of each."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import wasm_torch

LONG = os.environ.get("WASM_TORCH_LONG") == "1"
CALLERS = 64


def resident():
    """Bytes of this process that are in memory."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        pytest.skip("there is no /proc")


@pytest.mark.parametrize("threads", [1, 2])
def test_64_callers_of_one_module_get_their_own_answers(digits, threads):
    module = wasm_torch.load(digits, threads=threads)
    images = np.random.default_rng(1).random((CALLERS, 1, 1, 28, 28), np.float32)
    expected = [module(image) for image in images]
    assert len({answer.tobytes() for answer in expected}) == CALLERS
    start = threading.Barrier(CALLERS)

    def caller(number):
        start.wait()
        return all(np.array_equal(module(images[number]), expected[number]) for _ in range(500 if LONG else 20))

    with ThreadPoolExecutor(CALLERS) as pool:
        assert all(pool.map(caller, range(CALLERS)))


def test_memory_is_flat_over_many_calls(digits, image):
    module = wasm_torch.load(digits)
    for _ in range(1000):
        module(image)
    before = resident()
    for _ in range(1_000_000 if LONG else 3000):
        module(image)
    assert resident() < before + (4 << 20)


def test_modules_that_go_take_their_memory_along(digits, image):
    def rounds(count):
        for _ in range(count):
            wasm_torch.load(digits, threads=2)(image)

    rounds(20)
    before = resident()
    rounds(1000 if LONG else 60)
    assert resident() < before + (8 << 20)
