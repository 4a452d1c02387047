"""timm: image networks of many kinds of layers, with few blocks where the constructor takes that."""

from registry import architecture, on_image


def timm_model(name, size=64, model=None, **options):
    def build():
        import timm

        if callable(model):
            return model()
        return timm.create_model(model or name, pretrained=False, num_classes=50, **options)

    architecture("timm", name)(lambda: on_image(build, size))


def convmixer():
    from timm.models.convmixer import ConvMixer

    return ConvMixer(dim=64, depth=3, kernel_size=5, patch_size=4, num_classes=50)


def mixer(**options):
    from timm.models.mlp_mixer import MlpMixer

    return MlpMixer(num_classes=50, img_size=64, patch_size=16, num_blocks=3, embed_dim=64, **options)


def mlp_mixer():
    return mixer()


def resmlp():
    from timm.models.mlp_mixer import Affine, ResBlock

    return mixer(mlp_ratio=4, block_layer=ResBlock, norm_layer=Affine)


def gmlp():
    from timm.models.mlp_mixer import GatedMlp, SpatialGatingBlock

    return mixer(mlp_ratio=6, block_layer=SpatialGatingBlock, mlp_layer=GatedMlp)


def poolformer():
    from timm.models.metaformer import MetaFormer, Pooling

    return MetaFormer(depths=(1, 1, 1, 1), dims=(16, 32, 48, 64), token_mixers=Pooling, num_classes=50)


timm_model("deit_tiny", 64, "deit_tiny_patch16_224", img_size=64, depth=3)
timm_model("convmixer", 64, convmixer)
timm_model("mlp_mixer", 64, mlp_mixer)
timm_model("resmlp", 64, resmlp)
timm_model("gmlp", 64, gmlp)
timm_model("ghostnet_050")
timm_model("mobilenetv4_conv_small")
timm_model("mobilevit_xxs")
timm_model("mobilevitv2_050")
timm_model("tinynet_e")
timm_model("lcnet_050")
timm_model("repvgg_a0")
timm_model("edgenext_xx_small")
timm_model("poolformer", 64, poolformer)
timm_model("levit_128s", 224)
timm_model("pvt_v2_b0")
timm_model("xcit", 64, "xcit_nano_12_p16_224", img_size=64, depth=3)
timm_model("fastvit_t8")
timm_model("res2net", 64, "res2net50_14w_8s", layers=(1, 1, 1, 1))
timm_model("seresnet", 64, "seresnet18", layers=(1, 1, 1, 1))
timm_model("eca_nfnet", 64, "eca_nfnet_l0")
timm_model("mobileone_s0")
timm_model("hardcorenas_a")
timm_model("spnasnet_100")
timm_model("cspresnet", 64, "cspresnet50")
timm_model("coatnet", 64, "coatnet_nano_rw_224", img_size=64)
timm_model("cait", 64, "cait_xxs24_224", img_size=64, depth=3)
timm_model("beit", 64, "beit_base_patch16_224", img_size=64, depth=2, embed_dim=96, num_heads=4)
timm_model("eva", 56, "eva02_tiny_patch14_224", img_size=56, depth=2)
timm_model("davit", 64, "davit_tiny", depths=(1, 1, 1, 1), embed_dims=(32, 64, 96, 128), num_heads=(2, 2, 4, 4), num_groups=(2, 2, 4, 4))
timm_model("focalnet", 64, "focalnet_tiny_srf", depths=(1, 1, 2, 1), embed_dim=32)
timm_model("hgnetv2_b0")
timm_model("efficientvit_b0")
timm_model("repvit_m0_9")
timm_model("starnet_s1")
