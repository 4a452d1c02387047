"""What onnxruntime says of more inputs than the one golden of each file of the zoo: `tests/tests/trained.rs` compares.

usage: $(models/zoo/packages.sh) models/zoo/references.py

Speech and silence for the voice detector silero-vad, whose state goes from call to call, and images of three sizes. In
`$WASM_TORCH_CACHE/zoo`: silero_streams.npz with, per stream, NAME.pieces f32 [n, 576] (64 samples of context and 512 new ones)
and MODEL.NAME f32 [n], probabilities; image_sizes.npz with, per size, input:SIZE and MODEL:SIZE. Speech needs the program
`espeak-ng` (apt-get install espeak-ng).
"""

import pathlib
import subprocess
import sys
import tempfile
import wave

import numpy as np

FOLDER = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER.parent / "tools")]
import common  # noqa: E402

RATE, CONTEXT, PIECE, PIECES = 16000, 64, 512, 64
TEXT = "The quick brown fox jumps over the lazy dog. Speech recognition begins with knowing that somebody speaks."
MODELS = ("silero_vad", "silero_vad_16k_op15", "silero_vad_op18_ifless")
NETWORKS, SIZES = ("mobilenet_v2.dynamo", "mobilenet_v2.legacy"), ((64, 64), (224, 160), (512, 448))


def speech():
    """A synthetic voice at 16 kHz."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "speech.wav"
        subprocess.run(["espeak-ng", "-w", str(path), "-s", "150", TEXT], check=True)
        with wave.open(str(path)) as file:
            rate, samples = file.getframerate(), np.frombuffer(file.readframes(file.getnframes()), np.int16)
    time = np.arange(int(len(samples) * RATE / rate)) * rate / RATE
    return (np.interp(time, np.arange(len(samples)), samples) / 32768).astype(np.float32)


def silence():
    """The noise of a room."""
    return (1e-3 * np.random.default_rng(1).standard_normal(CONTEXT + PIECE * PIECES)).astype(np.float32)


def pieces(samples):
    """[n, 576]: every piece begins with the end of the one before."""
    padded = np.concatenate([np.zeros(CONTEXT, np.float32), samples])
    count = min(PIECES, (len(padded) - CONTEXT) // PIECE)
    return np.stack([padded[i * PIECE :][: CONTEXT + PIECE] for i in range(count)])


def probabilities(session, given, rate):
    state, found = np.zeros((2, 1, 128), np.float32), []
    for piece in given:
        inputs = {"input": piece[None], "state": state, **({"sr": np.array(RATE)} if rate else {})}
        output, state = session.run(None, inputs)
        found.append(output.item())
    return np.array(found, np.float32)


def session(name):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(common.cache_dir("zoo") / f"{name}.onnx"), options, providers=["CPUExecutionProvider"])


def streams():
    streams = {"speech": pieces(speech()), "silence": pieces(silence())}
    arrays = {f"{name}.pieces": given for name, given in streams.items()}
    for model in MODELS:
        detector = session(f"{model}.given")
        rate = "sr" in [port.name for port in detector.get_inputs()]
        for name, given in streams.items():
            found = arrays[f"{model}.{name}"] = probabilities(detector, given, rate)
            common.progress(f"{model}, {name}: {len(found)} pieces, {found.min():.3f} to {found.max():.3f}")
    common.save_npz(common.cache_dir("zoo") / "silero_streams.npz", arrays)


def images():
    arrays = {}
    for height, width in SIZES:
        size = f"{height}x{width}"
        image = arrays[f"input:{size}"] = np.random.default_rng(height).standard_normal((1, 3, height, width), np.float32)
        for model in NETWORKS:
            [arrays[f"{model}:{size}"]] = session(model).run(None, {"input": image})
            common.progress(f"{model}, {size}")
    common.save_npz(common.cache_dir("zoo") / "image_sizes.npz", arrays)


if __name__ == "__main__":
    images()
    streams()
