"""Models of PyTorch: both exporters, what `verify` finds, what torch cannot export."""

import numpy as np
import pytest

import wasm_torch
from wasm_torch import optimize


@pytest.fixture
def mlp(torch):
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.ReLU(), torch.nn.Dropout(0.5), torch.nn.Linear(32, 4))


@pytest.mark.parametrize("exporter", ["dynamo", "legacy"])
def test_mobilenet_agrees_with_torch(torch, tmp_path, exporter):
    torchvision = pytest.importorskip("torchvision", reason="torchvision is not installed: its mobilenet_v2 is not tested")
    model = torchvision.models.mobilenet_v2(num_classes=100)
    x = torch.randn(1, 3, 96, 96)
    report = wasm_torch.export_to_wasm(model, tmp_path / "model.wasm", x, exporter=exporter, progress=False)
    assert report.exporter == exporter and report.verification.ok and report.verification.max_rel <= 1e-4
    assert report.verification.against == "torch"
    logits = wasm_torch.load(tmp_path / "model.wasm")(x)
    model.eval()
    with torch.no_grad():
        expected = model(x).numpy()
    assert np.abs(logits - expected).max() <= 1e-4 * np.abs(expected).max()


def test_modes_and_examples(torch, mlp, tmp_path):
    """Dropout and the like are off in the module, and as they were in the model; examples come in every form."""
    mlp.train()
    mlp[2].eval()
    x = torch.randn(3, 16)
    for example in (x, (x,), [x], {"input": x}, x.numpy()):
        report = wasm_torch.export_to_wasm(mlp, tmp_path / "m.wasm", example, exporter="legacy", progress=False)
        assert report.verification.ok, report
    assert mlp.training and not mlp[2].training and mlp[0].training
    assert any("0" in layer for step in report.layers for layer in step["layers"])


def test_exported_programs(torch, mlp, tmp_path):
    x = torch.randn(3, 16)
    program = torch.export.export(mlp.eval(), (x,))
    report = wasm_torch.export_to_wasm(program, tmp_path / "m.wasm", x, progress=False)
    assert report.exporter == "dynamo" and report.verification.ok
    report = wasm_torch.export_to_wasm(program, tmp_path / "m.wasm", progress=False)
    assert report.verification is None


def test_the_legacy_exporter_steps_in(torch, mlp, tmp_path, monkeypatch):
    from wasm_torch import _torch

    plain = _torch.export

    def failing(exporter, *args):
        if exporter == "dynamo":
            raise RuntimeError("no graph today\nand more")
        plain(exporter, *args)

    monkeypatch.setattr(_torch, "export", failing)
    report = wasm_torch.export_to_wasm(mlp, tmp_path / "m.wasm", torch.randn(3, 16), progress=False)
    assert report.exporter == "legacy" and "RuntimeError: no graph today" in report.warnings[-1]


def test_what_torch_cannot_export(torch, tmp_path):
    class Stubborn(torch.nn.Module):
        def forward(self, x):
            raise ValueError("not like this")

    with pytest.raises(wasm_torch.TorchExportError, match="not like this") as caught:
        wasm_torch.export_to_wasm(Stubborn(), tmp_path / "m.wasm", torch.randn(3), progress=False)
    assert set(caught.value.reasons) == {"dynamo", "legacy"}
    with pytest.raises(TypeError, match="example_input"):
        wasm_torch.export_to_wasm(torch.nn.Linear(2, 2), tmp_path / "m.wasm", progress=False)
    with pytest.raises(TypeError, match="Tensor"):
        wasm_torch.export_to_wasm(torch.randn(3), tmp_path / "m.wasm", progress=False)
    with pytest.raises(TypeError, match="arguments are: input"):
        wasm_torch.export_to_wasm(torch.nn.Linear(2, 2), tmp_path / "m.wasm", torch.randn(1, 2), dynamic_shapes={"x": {0: "n"}}, exporter="legacy", progress=False)
    assert list(tmp_path.iterdir()) == []


def tagger(torch):
    """An LSTM with a head, as people write them."""

    class Tagger(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = torch.nn.LSTM(8, 16, batch_first=True, bidirectional=True)
            self.head = torch.nn.Linear(32, 5)

        def forward(self, frames):
            hidden, (h, _) = self.lstm(frames)
            return self.head(hidden), h

    return Tagger()


def test_an_lstm_agrees_with_torch(torch, tmp_path):
    report = wasm_torch.export_to_wasm(tagger(torch), tmp_path / "m.wasm", torch.randn(1, 12, 8), progress=False)
    assert report.verification.ok and len(report.verification.outputs) == 2
    scores, hidden = wasm_torch.load(tmp_path / "m.wasm")(np.zeros((1, 12, 8), np.float32))
    assert scores.shape == (1, 12, 5) and hidden.shape == (2, 1, 16)


def test_a_transformer_agrees_with_torch(torch, tmp_path):
    """Shaped like BERT in Hugging Face's library: token ids and a mask in, states and a pooled state out."""

    class Layer(torch.nn.Module):
        def __init__(self, width, heads):
            super().__init__()
            self.heads = heads
            self.query, self.key, self.value, self.dense = (torch.nn.Linear(width, width) for _ in range(4))
            self.up, self.down = torch.nn.Linear(width, 4 * width), torch.nn.Linear(4 * width, width)
            self.norm1, self.norm2 = torch.nn.LayerNorm(width), torch.nn.LayerNorm(width)

        def forward(self, x, mask):
            b, s, w = x.shape
            q, k, v = (m(x).view(b, s, self.heads, w // self.heads).transpose(1, 2) for m in (self.query, self.key, self.value))
            mixed = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
            x = self.norm1(x + self.dense(mixed.transpose(1, 2).reshape(b, s, w)))
            return self.norm2(x + self.down(torch.nn.functional.gelu(self.up(x))))

    class Bert(torch.nn.Module):
        def __init__(self, width=32):
            super().__init__()
            self.words, self.places = torch.nn.Embedding(100, width), torch.nn.Embedding(32, width)
            self.layers = torch.nn.ModuleList([Layer(width, 4) for _ in range(2)])
            self.pooler = torch.nn.Linear(width, width)

        def forward(self, input_ids, attention_mask):
            x = self.words(input_ids) + self.places(torch.arange(input_ids.shape[1], device=input_ids.device))
            mask = (1.0 - attention_mask[:, None, None, :].to(x.dtype)) * -1e9
            for layer in self.layers:
                x = layer(x, mask)
            return {"last_hidden_state": x, "pooler_output": torch.tanh(self.pooler(x[:, 0]))}

    example = {"input_ids": torch.randint(0, 100, (1, 16)), "attention_mask": torch.ones(1, 16, dtype=torch.int64)}
    report = wasm_torch.export_to_wasm(Bert(), tmp_path / "m.wasm", example, progress=False)
    assert report.verification.ok, report
    module = wasm_torch.load(tmp_path / "m.wasm")
    assert module(**example)[0].shape == (1, 16, 32)


def test_tensors_are_arrays(torch, mlp, tmp_path):
    wasm_torch.export_to_wasm(mlp, tmp_path / "m.wasm", torch.randn(3, 16), exporter="legacy", progress=False)
    module = wasm_torch.load(tmp_path / "m.wasm")
    x = torch.randn(3, 16, requires_grad=True)
    assert np.array_equal(module(x), module(x.detach().numpy()))
    info = optimize.get_optimization_info(mlp)
    assert info["layers"] == {"Linear": 2, "ReLU": 1, "Dropout": 1} and info["parameters"] == 16 * 32 + 32 + 32 * 4 + 4


def test_backends_take_torch_models(torch, mlp):
    x = torch.randn(3, 16)
    with torch.no_grad():
        expected = mlp.eval()(x).numpy()
    selector = wasm_torch.BackendSelector(exporter="legacy")
    assert np.allclose(selector.call_function(mlp, x), expected, atol=1e-5)
    assert selector.get_status()["last"] == "wasm"


@pytest.mark.parametrize("exporter", ["dynamo", "legacy"])
def test_free_sizes(torch, tmp_path, exporter):
    """A length that stays free: bounds are kept, every length agrees with torch."""

    class Scores(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.up, self.down = torch.nn.Linear(8, 16), torch.nn.Linear(16, 5)

        def forward(self, frames):
            return self.down(torch.relu(self.up(frames))).softmax(-1)

    check_lengths(torch, Scores(), tmp_path / "m.wasm", exporter)


def test_an_lstm_of_any_length(torch, tmp_path):
    check_lengths(torch, tagger(torch), tmp_path / "m.wasm", "legacy")


def check_lengths(torch, model, path, exporter):
    dynamic = {"frames": {1: ("time", 2, 40)}}
    report = wasm_torch.export_to_wasm(model, path, torch.randn(1, 12, 8), dynamic_shapes=dynamic, exporter=exporter, progress=False)
    assert report.verification.ok, report
    module = wasm_torch.load(path)
    assert list(module.dims.values()) == [(2, 40)]
    model.eval()
    for length in (2, 7, 40):
        x = torch.randn(1, length, 8)
        with torch.no_grad():
            expected = model(x)
        expected = (expected[0] if isinstance(expected, tuple) else expected).numpy()
        scores = next(iter(module.run(x).values()))
        assert scores.shape == expected.shape and np.abs(scores - expected).max() <= 1e-4 * np.abs(expected).max()
    with pytest.raises(wasm_torch.ShapeError, match="2 to 40"):
        module(torch.randn(1, 41, 8))


def test_a_quantised_cnn(torch, tmp_path):
    """Calibrated on a DataLoader of pairs, as it comes; smaller, and close to what torch computes."""
    torch.manual_seed(1)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(16, 32, 3, padding=1), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(32, 10),
    )  # fmt: skip
    images = torch.rand(48, 3, 16, 16)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images, torch.zeros(48)), batch_size=8)
    wishes = optimize.quantize_for_wasm(model, "static", calibration_data=loader)
    plain = wasm_torch.export_to_wasm(model, tmp_path / "f.wasm", images[:1], exporter="legacy", progress=False)
    report = wasm_torch.export_to_wasm(wishes, tmp_path / "q.wasm", images[:1], exporter="legacy", progress=False)
    assert report.quantization["layers"] and report.verification.ok and report.verification.max_rel < 0.1
    assert report.sizes["weights"] < 0.5 * plain.sizes["weights"]
    assert "integer layers" in repr(report)
    dynamic = wasm_torch.export_to_wasm(model, tmp_path / "d.wasm", images[:1], quantization="dynamic", exporter="legacy", progress=False)
    assert dynamic.verification.ok
    with pytest.raises(wasm_torch.QuantizationError):
        bad = optimize.quantize_for_wasm(model, "static", calibration_data=torch.rand(8, 1, 16, 16))
        wasm_torch.export_to_wasm(bad, tmp_path / "b.wasm", images[:1], exporter="legacy", progress=False)
