"""Exports decoders with a key-value cache, tokens and past → logits and present, with both exporters; and what PyTorch
generates with them.

usage: $(models/zoo/packages.sh) models/decoders/export.py [--large]

Committed: NAME.EXPORTER.onnx, small GPT-2 and Llama with random weights whose batch is 1 and whose sequence and past are
free, and NAME.npz: `prompt` i64 [1, 5], `tokens` i64 [64], the most likely tokens one after the other, and `logits` f32
[64, vocabulary], all by PyTorch without a cache. In `$WASM_TORCH_CACHE/models`, with `--large`: gpt2_medium.dynamo.onnx.
"""

import argparse
import pathlib
import sys

import numpy as np
import torch
from torch import nn

FOLDER = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent / "tools"))
import common  # noqa: E402

PROMPT, GENERATED = 5, 64


class Cached(nn.Module):
    """Tokens [1, sequence] and every layer's past keys and values → logits [1, sequence, vocabulary], every layer's present."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, *past):
        from transformers import DynamicCache

        cache = DynamicCache()
        for layer in range(len(past) // 2):
            cache.update(past[2 * layer], past[2 * layer + 1], layer)
        found = self.model(input_ids=input_ids, past_key_values=cache, use_cache=True)
        present = [tensor for layer in cache.layers for tensor in (layer.keys, layer.values)]
        return (found.logits, *present)


def gpt2(width=32, layers=2, heads=2, vocabulary=80, positions=96):
    import transformers

    sizes = dict(n_embd=width, n_layer=layers, n_head=heads, vocab_size=vocabulary, n_positions=positions)
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, tie_word_embeddings=False)), heads, width // heads


def llama(width=32, layers=2, heads=4, vocabulary=80, positions=96):
    import transformers

    sizes = dict(hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads, intermediate_size=2 * width)
    config = transformers.LlamaConfig(**sizes, num_key_value_heads=heads // 2, vocab_size=vocabulary, max_position_embeddings=positions)
    return transformers.LlamaForCausalLM(config), heads // 2, width // heads


def lively(model):
    """Weights so large that what comes next depends on what came before."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 2.0 / parameter.shape[-1] ** 0.5)
    return model.eval()


def generate(model, prompt, count):
    """The most likely tokens one after the other, and the logits of each, computed from the whole text every time."""
    text, logits = list(prompt), []
    with torch.no_grad():
        for _ in range(count):
            last = model(input_ids=torch.tensor([text]), use_cache=False).logits[0, -1]
            logits.append(last.numpy())
            text.append(int(last.argmax()))
    return np.array(text[len(prompt) :]), np.stack(logits)


def export(model, heads, width, path, exporter):
    """Writes one ONNX file with a free past and a free sequence."""
    layers = model.config.num_hidden_layers
    names = [f"past_{part}_{layer}" for layer in range(layers) for part in ("key", "value")]
    outputs = ["logits", *(name.replace("past", "present") for name in names)]
    inputs = (torch.arange(3)[None], *(torch.randn(1, heads, 7, width) for _ in names))
    if exporter == "dynamo":
        free = dict(dynamic_shapes=({1: torch.export.Dim("sequence")}, tuple({2: torch.export.Dim("past")} for _ in names)))
        common.export_onnx(Cached(model), inputs, path, exporter, ["input_ids", *names], outputs, **free)
    else:
        free = {"input_ids": {1: "sequence"}, **{name: {2: "past"} for name in names}}
        common.export_onnx(Cached(model), inputs, path, exporter, ["input_ids", *names], outputs, dynamic=free)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", action="store_true", help="a model of 6 layers and 384 channels into the cache instead")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.large:
        torch.manual_seed(0)
        built = gpt2(384, 6, 6, 8192, 2048)
        return export(lively(built[0]), *built[1:], common.cache_dir("models") / "gpt2_medium.dynamo.onnx", "dynamo")
    for name, build in (("gpt2", gpt2), ("llama", llama)):
        torch.manual_seed(0)
        model, heads, width = build()
        lively(model)
        prompt = np.random.default_rng(7).integers(0, model.config.vocab_size, PROMPT)
        tokens, logits = generate(model, prompt, GENERATED)
        two = np.sort(logits, axis=1)[:, -2:]
        common.progress(f"{name}: {len(set(tokens.tolist()))} different tokens, smallest gap {np.min(two[:, 1] - two[:, 0]):.4f} of {np.abs(logits).max():.1f}")
        common.save_npz(FOLDER / f"{name}.npz", {"prompt": prompt[None], "tokens": tokens, "logits": logits})
        for exporter in common.EXPORTERS:
            export(model, heads, width, FOLDER / f"{name}.{exporter}.onnx", exporter)


if __name__ == "__main__":
    main()
