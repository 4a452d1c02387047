"""Networks written out here: what people build themselves rather than take from a library."""

import numpy as np
import torch
from torch import nn

from registry import Built, architecture, image, on_image, prepared, random_image, seeded, tokens


class DoubleConv(nn.Sequential):
    def __init__(self, inputs, outputs):
        layers = [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(True)]
        layers += [nn.Conv2d(outputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(True)]
        super().__init__(*layers)


class UNet(nn.Module):
    """Ronneberger et al. 2015 with padded convolutions; `bilinear` picks Upsample instead of transposed convolution."""

    def __init__(self, width=12, bilinear=False):
        super().__init__()
        sizes = [width, 2 * width, 4 * width, 8 * width]
        self.down = nn.ModuleList([DoubleConv(i, o) for i, o in zip([3, *sizes], sizes)])
        up = lambda i: nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), nn.Conv2d(i, i // 2, 1))
        transposed = lambda i: nn.ConvTranspose2d(i, i // 2, 2, stride=2)
        self.up = nn.ModuleList([(up if bilinear else transposed)(i) for i in sizes[:0:-1]])
        self.merge = nn.ModuleList([DoubleConv(i, i // 2) for i in sizes[:0:-1]])
        self.head = nn.Conv2d(width, 2, 1)

    def forward(self, input):
        skips, x = [], input
        for i, block in enumerate(self.down):
            x = block(x if i == 0 else nn.functional.max_pool2d(x, 2))
            skips.append(x)
        skips.pop()
        for up, merge in zip(self.up, self.merge):
            x = merge(torch.cat([skips.pop(), up(x)], 1))
        return self.head(x)


architecture("segmentation", "unet")(lambda: on_image(UNet, 64))
architecture("segmentation", "unet_bilinear")(lambda: on_image(lambda: UNet(bilinear=True), 48))


class ESPCN(nn.Module):
    """Shi et al. 2016: super-resolution by sub-pixel convolution, on luminance."""

    def __init__(self, factor=3):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 64, 5, padding=2), nn.Tanh(), nn.Conv2d(64, 32, 3, padding=1), nn.Tanh())
        self.head = nn.Sequential(nn.Conv2d(32, factor**2, 3, padding=1), nn.PixelShuffle(factor))

    def forward(self, input):
        return torch.sigmoid(self.head(self.body(input)))


architecture("super-resolution", "espcn")(lambda: on_image(ESPCN, 40, 1, dynamic={"input": {2: "height", 3: "width"}}))


class Tagger(nn.Module):
    """A class per token: Embedding, a bidirectional recurrent layer, Linear."""

    def __init__(self, layer):
        super().__init__()
        self.embedding = nn.Embedding(200, 32)
        self.layer = layer(32, 48, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(96, 9)
        nn.init.normal_(self.head.weight)

    def forward(self, tokens):
        scores = self.head(self.layer(self.embedding(tokens))[0])
        return scores, scores.argmax(-1)


architecture("tagging", "lstm_tagger")(lambda: Built(seeded(lambda: Tagger(nn.LSTM)), {"tokens": tokens(2, 20, 200)}))
architecture("tagging", "gru_tagger")(lambda: Built(seeded(lambda: Tagger(nn.GRU)), {"tokens": tokens(2, 20, 200)}))


class TextCNN(nn.Module):
    """Kim 2014: convolutions of several widths over an embedding, maximum over time."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(200, 32)
        self.convolutions = nn.ModuleList([nn.Conv1d(32, 24, width) for width in (3, 4, 5)])
        self.head = nn.Linear(72, 5)

    def forward(self, tokens):
        x = self.embedding(tokens).transpose(1, 2)
        return self.head(torch.cat([torch.relu(c(x)).max(2).values for c in self.convolutions], 1)).log_softmax(1)


architecture("text", "text_cnn")(lambda: Built(seeded(TextCNN), {"tokens": tokens(2, 24, 200)}))


class Style(nn.Module):
    """Johnson et al. 2016: reflection padding, InstanceNorm, residual blocks, nearest upsampling."""

    def __init__(self):
        super().__init__()
        conv = lambda i, o, k, s=1: nn.Sequential(nn.ReflectionPad2d(k // 2), nn.Conv2d(i, o, k, s), nn.InstanceNorm2d(o, affine=True))
        self.down = nn.Sequential(conv(3, 8, 9), nn.ReLU(), conv(8, 16, 3, 2), nn.ReLU())
        self.residual = nn.Sequential(conv(16, 16, 3), nn.ReLU(), conv(16, 16, 3))
        self.up = nn.Sequential(nn.Upsample(scale_factor=2), conv(16, 8, 3), nn.ReLU(), nn.ReflectionPad2d(4), nn.Conv2d(8, 3, 9))

    def forward(self, input):
        x = self.down(input)
        return self.up(x + self.residual(x))


architecture("style transfer", "style_transfer")(lambda: on_image(Style, 48))


class Generator(nn.Sequential):
    """DCGAN's generator: transposed convolutions with BatchNorm."""

    def __init__(self):
        block = lambda i, o, s, p: nn.Sequential(nn.ConvTranspose2d(i, o, 4, s, p, bias=False), nn.BatchNorm2d(o), nn.ReLU(True))
        super().__init__(block(32, 64, 1, 0), block(64, 32, 2, 1), block(32, 16, 2, 1), nn.ConvTranspose2d(16, 3, 4, 2, 1), nn.Tanh())


@architecture("generation", "dcgan")
def dcgan():
    inputs = {"noise": random_image(1, 32, 1, 1)}
    return Built(prepared(seeded(Generator), inputs), inputs)


class TemporalBlock(nn.Module):
    """Bai et al. 2018: causal dilated convolutions with weight normalisation."""

    def __init__(self, inputs, outputs, dilation):
        super().__init__()
        self.pad = nn.ConstantPad1d((2 * dilation, 0), 0.0)
        self.conv = nn.utils.parametrizations.weight_norm(nn.Conv1d(inputs, outputs, 3, dilation=dilation))
        self.skip = nn.Conv1d(inputs, outputs, 1)

    def forward(self, x):
        return torch.relu(nn.functional.gelu(self.conv(self.pad(x))) + self.skip(x))


@architecture("time series", "tcn")
def tcn():
    build = lambda: nn.Sequential(TemporalBlock(6, 24, 1), TemporalBlock(24, 24, 2), TemporalBlock(24, 24, 4), nn.Conv1d(24, 3, 1))
    return Built(seeded(build).eval(), {"series": random_image(2, 6, 50)})


@architecture("text", "torch_transformer")
def torch_transformer():
    class Translator(nn.Module):
        def __init__(self):
            super().__init__()
            self.source, self.target = nn.Embedding(100, 32), nn.Embedding(100, 32)
            self.transformer = nn.Transformer(32, 4, 2, 2, 64, batch_first=True)
            self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(9))

        def forward(self, source, target):
            return self.transformer(self.source(source), self.target(target), tgt_mask=self.mask, tgt_is_causal=True)

    inputs = {"source": tokens(1, 12, 100), "target": tokens(1, 9, 100, 8)}
    return Built(prepared(seeded(Translator)), inputs)


@architecture("audio", "spectrogram_cnn")
def spectrogram():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("window", torch.hann_window(128))
            self.conv = nn.Sequential(nn.Conv2d(1, 8, 3, 2), nn.ReLU(), nn.Conv2d(8, 16, 3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5))

        def forward(self, wave):
            spectrum = torch.view_as_real(torch.stft(wave, 128, 64, window=self.window, center=False, return_complex=True))
            power = spectrum.pow(2).sum(-1)
            return self.conv(torch.log(power + 1e-6).unsqueeze(1))

    return Built(seeded(Net).eval(), {"wave": np.random.default_rng(3).standard_normal((1, 1024), np.float32)})
