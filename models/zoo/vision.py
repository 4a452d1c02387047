"""torchvision: classification, segmentation, video. Depth and width are reduced where that keeps the kinds of layers."""

import torch
import torchvision.models as tv
from torch import nn

from registry import architecture, on_image


def classifier(name, size, build, **extra):
    architecture("classification", name)(lambda: on_image(build, size, **extra))


def alexnet():
    model = tv.alexnet(num_classes=100)
    model.classifier = nn.Sequential(nn.Dropout(), nn.Linear(9216, 128), nn.ReLU(inplace=True), nn.Linear(128, 100))
    return model


def vgg():
    layers = tv.vgg.make_layers([16, "M", 32, "M", 64, 64, "M", 64, "M"], batch_norm=True)
    model = tv.VGG(layers, num_classes=100, init_weights=True)
    model.classifier = nn.Sequential(nn.Linear(64 * 49, 64), nn.ReLU(True), nn.Dropout(), nn.Linear(64, 100))
    return model


def resnet(block, **options):
    return lambda: tv.ResNet(block, [1, 1, 1, 1], num_classes=100, **options)


def vit():
    return tv.VisionTransformer(image_size=64, patch_size=16, num_layers=3, num_heads=4, hidden_dim=96, mlp_dim=192, num_classes=100)


def swin(block=None, downsample=None):
    extra = {key: value for key, value in dict(block=block, downsample_layer=downsample).items() if value}
    return tv.SwinTransformer([4, 4], 32, [2, 2, 2], [2, 4, 8], [4, 4], num_classes=100, **extra)


def convnext():
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    return ConvNeXt([CNBlockConfig(32, 64, 2), CNBlockConfig(64, 128, 2), CNBlockConfig(128, None, 1)], num_classes=100)


def maxvit():
    return tv.MaxVit((64, 64), 16, partition_size=2, block_channels=[16, 32], block_layers=[1, 1], head_dim=8, stochastic_depth_prob=0.0, num_classes=100)


BATCH = {"dynamic": {"input": {0: "batch"}}}
SIDES = {"dynamic": {"input": {2: "height", 3: "width"}}}

classifier("alexnet", 224, alexnet)
classifier("vgg_bn", 112, vgg)
classifier("resnet18", 64, lambda: tv.resnet18(num_classes=100), **BATCH)
classifier("resnet_bottleneck", 64, resnet(tv.resnet.Bottleneck))
classifier("resnext", 64, resnet(tv.resnet.Bottleneck, groups=32, width_per_group=4))
classifier("wide_resnet", 64, resnet(tv.resnet.Bottleneck, width_per_group=128))
classifier("densenet", 64, lambda: tv.DenseNet(16, (3, 4, 3), 32, num_classes=100))
classifier("googlenet", 64, lambda: tv.GoogLeNet(num_classes=100, aux_logits=False, init_weights=False))
classifier("inception_v3", 96, lambda: tv.Inception3(num_classes=100, aux_logits=False, init_weights=False))
classifier("mnasnet0_5", 64, lambda: tv.mnasnet0_5(num_classes=100))
classifier("mobilenet_v2", 96, lambda: tv.mobilenet_v2(num_classes=100), **SIDES)
classifier("mobilenet_v3_small", 64, lambda: tv.mobilenet_v3_small(num_classes=100))
classifier("mobilenet_v3_large", 64, lambda: tv.mobilenet_v3_large(num_classes=100))
classifier("regnet_x_400mf", 64, lambda: tv.regnet_x_400mf(num_classes=100))
classifier("regnet_y_400mf", 64, lambda: tv.regnet_y_400mf(num_classes=100))
classifier("shufflenet_v2_x0_5", 64, lambda: tv.shufflenet_v2_x0_5(num_classes=100))
classifier("squeezenet1_1", 96, lambda: tv.squeezenet1_1(num_classes=100))
classifier("efficientnet_b0", 64, lambda: tv.efficientnet_b0(num_classes=100))
classifier("convnext", 64, convnext)
classifier("swin", 64, swin)
classifier("swin_v2", 64, lambda: swin(tv.swin_transformer.SwinTransformerBlockV2, tv.swin_transformer.PatchMergingV2))
classifier("vit", 64, vit)
classifier("maxvit", 64, maxvit)


class Out(nn.Module):
    """A segmentation network whose output is the tensor `out`, not a dictionary."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input):
        return self.model(input)["out"]


def segmentation(name, size, build):
    architecture("segmentation", name)(lambda: on_image(lambda: Out(build()), size))


def fcn():
    from torchvision.models._utils import IntermediateLayerGetter
    from torchvision.models.segmentation.fcn import FCN, FCNHead

    backbone = tv.ResNet(tv.resnet.Bottleneck, [1, 1, 1, 1], replace_stride_with_dilation=[False, True, True])
    return FCN(IntermediateLayerGetter(backbone, {"layer4": "out"}), FCNHead(2048, 21), None)


segmentation("deeplabv3_mobilenet_v3", 96, lambda: tv.segmentation.deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=21))
segmentation("lraspp_mobilenet_v3", 96, lambda: tv.segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=21))
segmentation("fcn_resnet", 64, fcn)


@architecture("video", "r3d")
def r3d():
    from registry import Built, prepared, random_image, seeded
    from torchvision.models.video.resnet import BasicBlock, BasicStem, Conv3DSimple, VideoResNet

    inputs = {"input": random_image(1, 3, 4, 32, 32)}
    model = seeded(lambda: VideoResNet(BasicBlock, [Conv3DSimple] * 4, [1, 1, 1, 1], BasicStem, num_classes=50))
    return Built(prepared(model, inputs), inputs)


@architecture("optical flow", "raft_small")
def raft():
    from registry import Built, prepared, random_image, seeded

    class Flow(nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, first, second):
            return self.model(first, second, num_flow_updates=2)[-1]

    inputs = {"first": random_image(1, 3, 128, 128), "second": random_image(1, 3, 128, 128)[..., ::-1].copy()}
    return Built(prepared(Flow(seeded(lambda: tv.optical_flow.raft_small(weights=None)))), inputs)
