"""Detection networks of torchvision: heads alone, and whole with their selection of boxes (NonMaxSuppression, RoiAlign)."""

import torch
import torchvision.models.detection as tv
from torch import nn
from torchvision.models import resnet

from registry import Built, architecture, prepared, random_image, seeded

SIZE = 96


class Heads(nn.Module):
    """Backbone and heads: what a page that decodes boxes itself needs."""

    def __init__(self, model):
        super().__init__()
        self.backbone, self.head = model.backbone, model.head

    def forward(self, input):
        return tuple(self.head(list(self.backbone(input).values())).values())


class Whole(nn.Module):
    """One image [3,h,w] with pixels 0..1 → boxes, labels, scores (and masks), as many as there are."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, image):
        return tuple(self.model([image])[0].values())


def heads(build):
    inputs = {"input": random_image(1, 3, SIZE, SIZE)}
    return Built(prepared(Heads(seeded(build)), inputs), inputs)


def whole(build):
    import numpy as np

    inputs = {"image": np.random.default_rng(7).random((3, SIZE, SIZE), np.float32)}
    model = prepared(seeded(build))
    calibrate = {"input": random_image(1, 3, SIZE, SIZE)}
    prepared(model.backbone, calibrate)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # Freshly made, it gives almost equal scores, and rounding would decide the order of the boxes.
            if name.endswith("classification_head.cls_logits.weight"):
                parameter *= 20
    return Built(Whole(model).eval(), inputs)


def ssdlite():
    model = tv.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=11, detections_per_img=20, topk_candidates=50)
    model.transform = tv.transform.GeneralizedRCNNTransform(SIZE, SIZE, [0.5] * 3, [0.5] * 3, size_divisible=1, fixed_size=(SIZE, SIZE))
    return model


def small_backbone(outputs=16):
    """A feature pyramid over a small ResNet."""
    from torchvision.models.detection.backbone_utils import BackboneWithFPN

    body = resnet.ResNet(resnet.BasicBlock, [1, 1, 1, 1])
    return BackboneWithFPN(body, {f"layer{i}": str(i - 1) for i in (1, 2, 3, 4)}, [64, 128, 256, 512], outputs)


SIDES = dict(min_size=SIZE, max_size=SIZE)


def retinanet():
    anchors = tv.anchor_utils.AnchorGenerator(tuple((x,) for x in (16, 32, 64, 96, 128)), ((0.5, 1.0, 2.0),) * 5)
    return tv.RetinaNet(small_backbone(), 7, anchor_generator=anchors, detections_per_img=20, topk_candidates=40, score_thresh=0.01, **SIDES)


def fasterrcnn():
    options = dict(rpn_pre_nms_top_n_test=40, rpn_post_nms_top_n_test=20, box_detections_per_img=10, box_score_thresh=0.01)
    return tv.FasterRCNN(small_backbone(), 7, **options, **SIDES)


def maskrcnn():
    options = dict(rpn_pre_nms_top_n_test=30, rpn_post_nms_top_n_test=10, box_detections_per_img=5, box_score_thresh=0.01)
    return tv.MaskRCNN(small_backbone(), 7, **options, **SIDES)


def fcos():
    anchors = tv.anchor_utils.AnchorGenerator(((8,), (16,), (32,), (64,), (128,)), ((1.0,),) * 5)
    return tv.FCOS(small_backbone(), 7, anchor_generator=anchors, detections_per_img=20, topk_candidates=40, score_thresh=0.01, **SIDES)


architecture("detection", "ssdlite_heads")(lambda: heads(ssdlite))
architecture("detection", "retinanet_heads")(lambda: heads(retinanet))
architecture("detection", "ssdlite_nms")(lambda: whole(ssdlite))
architecture("detection", "retinanet_nms")(lambda: whole(retinanet))
architecture("detection", "fcos_nms")(lambda: whole(fcos))
architecture("detection", "fasterrcnn_nms")(lambda: whole(fasterrcnn))
architecture("detection", "maskrcnn_nms")(lambda: whole(maskrcnn))


@architecture("detection", "rpn_boxes")
def rpn_boxes():
    """Decoding of boxes and a fixed count of candidates, without NMS: what SSD-like heads end in."""

    class Decode(nn.Module):
        def __init__(self, model):
            super().__init__()
            self.heads = Heads(model)
            self.register_buffer("anchors", torch.rand(1, 1, 4))

        def forward(self, input):
            scores, offsets = self.heads(input)[:2]
            best, classes = scores.sigmoid().max(-1)
            values, indices = best.topk(15)
            boxes = self.anchors + offsets
            chosen = torch.gather(boxes, 1, indices.unsqueeze(-1).expand(-1, -1, 4))
            return values, classes.gather(1, indices), chosen

    inputs = {"input": random_image(1, 3, SIZE, SIZE)}
    return Built(prepared(Decode(seeded(retinanet)), inputs), inputs)
