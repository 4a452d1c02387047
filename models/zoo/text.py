"""Transformers of the package `transformers`: text, speech, images with text. Two or three small layers each, random weights."""

import numpy as np
import torch
from torch import nn

from registry import Built, architecture, prepared, random_image, seeded, tokens

SMALL = dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128, vocab_size=300)
SEQUENCE = {0: "batch", 1: "sequence"}


class Named(nn.Module):
    """Calls `model` with its inputs as keywords and returns the chosen parts of its result."""

    def __init__(self, model, inputs, outputs):
        super().__init__()
        self.model, self.names, self.outputs = model, inputs, outputs

    def forward(self, *tensors):
        found = self.model(**dict(zip(self.names, tensors)), return_dict=True)
        return tuple(getattr(found, name) for name in self.outputs)


def named(build, inputs, *outputs, **extra):
    model = prepared(seeded(build))
    model.config.use_cache = False
    return Built(Named(model, list(inputs), outputs).eval(), inputs, **extra)


def sentence(batch=2, length=12, padding=3):
    """Tokens and mask; the last tokens of the last sentence are padding."""
    mask = np.ones((batch, length), np.int64)
    mask[-1, length - padding :] = 0
    return {"input_ids": tokens(batch, length, 300), "attention_mask": mask}


def encoder(name, make, *outputs, dynamic=True, inputs=None):
    """A text encoder with free batch and sequence."""

    def build():
        given = inputs() if inputs else sentence()
        free = {key: SEQUENCE for key in given} if dynamic else None
        return named(make, given, *(outputs or ("last_hidden_state",)), dynamic=free)

    architecture("text", name)(build)


def hf(model, config, **options):
    """A builder from the names of a model and a configuration."""

    def make():
        import transformers

        return getattr(transformers, model)(getattr(transformers, config)(**options))

    return make


DISTIL = dict(dim=64, n_layers=2, n_heads=4, hidden_dim=128, vocab_size=300)
encoder("bert", hf("BertModel", "BertConfig", **SMALL), "last_hidden_state", "pooler_output")
encoder("bert_classifier", hf("BertForSequenceClassification", "BertConfig", num_labels=3, **SMALL), "logits")
encoder("bert_eager", hf("BertModel", "BertConfig", attn_implementation="eager", **SMALL))
encoder("distilbert", hf("DistilBertModel", "DistilBertConfig", **DISTIL))
encoder("roberta", hf("RobertaModel", "RobertaConfig", **SMALL))
encoder("albert", hf("AlbertModel", "AlbertConfig", embedding_size=32, **SMALL))
encoder("electra", hf("ElectraForTokenClassification", "ElectraConfig", embedding_size=32, num_labels=5, **SMALL), "logits")
encoder("mpnet", hf("MPNetModel", "MPNetConfig", **SMALL))
encoder("deberta_v2", hf("DebertaV2Model", "DebertaV2Config", relative_attention=True, pos_att_type=["p2c", "c2p"], **SMALL), dynamic=False)
encoder("modernbert", hf("ModernBertModel", "ModernBertConfig", pad_token_id=0, **SMALL), dynamic=False)
encoder("mobilebert", hf("MobileBertModel", "MobileBertConfig", embedding_size=32, intra_bottleneck_size=32, **SMALL))
encoder("squeezebert", hf("SqueezeBertModel", "SqueezeBertConfig", embedding_size=64, **SMALL))


class Cached(nn.Module):
    """One call of a decoder with a key-value cache: tokens and every layer's past → logits and every layer's present."""

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


class Uncached(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask):
        return self.model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).logits


def prompt():
    """Inputs of a decoder that sees a whole sequence, and what of their shape is free."""
    return {"input_ids": tokens(1, 10, 300), "attention_mask": np.ones((1, 10), np.int64)}, {key: {1: "sequence"} for key in ("input_ids", "attention_mask")}


def decoder(name, make, heads, width, layers=2):
    """`name`: a whole sequence at once; `name_cache`: one token after a past of 7."""
    architecture("text", name)(lambda: Built(Uncached(prepared(seeded(make))).eval(), *prompt()))

    def cached():
        inputs = {"input_ids": tokens(1, 1, 300)}
        dynamic = {}
        for layer in range(layers):
            for part in ("key", "value"):
                inputs[f"past_{part}_{layer}"] = random_image(1, heads, 7, width)
                dynamic[f"past_{part}_{layer}"] = {2: "past"}
        return Built(Cached(prepared(seeded(make))).eval(), inputs, {"input_ids": {}, **dynamic})

    architecture("text", f"{name}_cache")(cached)


GPT2 = dict(n_embd=64, n_layer=2, n_head=4, vocab_size=300, n_positions=64)
LLAMA = dict(**SMALL, num_key_value_heads=2, max_position_embeddings=64)
decoder("gpt2", hf("GPT2LMHeadModel", "GPT2Config", **GPT2), 4, 16)
decoder("llama", hf("LlamaForCausalLM", "LlamaConfig", **LLAMA), 2, 16)
decoder("qwen2", hf("Qwen2ForCausalLM", "Qwen2Config", **LLAMA), 2, 16)
decoder("gemma", hf("GemmaForCausalLM", "GemmaConfig", head_dim=16, **LLAMA), 2, 16)
decoder("gpt_neox", hf("GPTNeoXForCausalLM", "GPTNeoXConfig", max_position_embeddings=64, **SMALL), 4, 16)
decoder("opt", hf("OPTForCausalLM", "OPTConfig", hidden_size=64, num_hidden_layers=2, num_attention_heads=4, ffn_dim=128, vocab_size=300, word_embed_proj_dim=64), 4, 16)
decoder("phi", hf("PhiForCausalLM", "PhiConfig", **SMALL), 4, 16)


@architecture("text", "llama_opset23")
def llama_opset23():
    """The same with opset 23, where the dynamo exporter writes Attention, RotaryEmbedding and RMSNormalization."""
    model = Uncached(prepared(seeded(hf("LlamaForCausalLM", "LlamaConfig", **LLAMA)))).eval()
    return Built(model, *prompt(), {"dynamo": {"opset_version": 23}})


TINY = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24, max_position_embeddings=16)
encoder("tiny_bert", hf("BertModel", "BertConfig", vocab_size=300, **TINY), dynamic=False)
decoder("tiny_llama", hf("LlamaForCausalLM", "LlamaConfig", vocab_size=300, num_key_value_heads=1, **TINY), 1, 8, layers=1)

T5 = dict(attn_implementation="eager", d_model=64, d_kv=16, d_ff=128, num_layers=2, num_heads=4, vocab_size=300)
encoder("t5_encoder", hf("T5EncoderModel", "T5Config", **T5))
PAIR = lambda: {**sentence(), "decoder_input_ids": tokens(2, 6, 300, 9)}
encoder("t5", hf("T5ForConditionalGeneration", "T5Config", use_cache=False, **T5), "logits", dynamic=False, inputs=PAIR)
BART = dict(d_model=64, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=128, decoder_ffn_dim=128)
encoder("bart", hf("BartForConditionalGeneration", "BartConfig", vocab_size=300, use_cache=False, **BART), "logits", dynamic=False, inputs=PAIR)


def media(name, family, make, inputs, *outputs, **extra):
    architecture(family, name)(lambda: named(make, inputs(), *(outputs or ("last_hidden_state",)), **extra))


CLIP = dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128)
WHISPER = dict(**BART, vocab_size=300, num_mel_bins=40, max_source_positions=50, max_target_positions=32, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1)
SPEECH = dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128, conv_dim=(32, 32, 32), conv_stride=(5, 2, 2), conv_kernel=(10, 3, 3), num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4, vocab_size=30)
PIXELS = lambda size: lambda: {"pixel_values": random_image(1, 3, size, size)}
WAVE = lambda: {"input_values": random_image(1, 1600)}


def whisper_encoder():
    return hf("WhisperModel", "WhisperConfig", **WHISPER)().encoder


def whisper_decoder():
    return hf("WhisperModel", "WhisperConfig", use_cache=False, **WHISPER)().decoder


def clip():
    import transformers

    text = dict(**CLIP, vocab_size=300, max_position_embeddings=16, eos_token_id=299)
    vision = dict(**CLIP, image_size=32, patch_size=8)
    return transformers.CLIPModel(transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=32))


def clip_inputs():
    return {"input_ids": np.concatenate([tokens(2, 9, 290), np.full((2, 1), 299)], 1), "pixel_values": random_image(1, 3, 32, 32), "attention_mask": np.ones((2, 10), np.int64)}


VIT = dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128, image_size=32, patch_size=8)
media("clip", "images and text", clip, clip_inputs, "logits_per_image", "text_embeds", "image_embeds")
media("clip_vision", "images and text", hf("CLIPVisionModelWithProjection", "CLIPVisionConfig", **CLIP, image_size=32, patch_size=8), PIXELS(32), "image_embeds")
media("siglip_vision", "images and text", hf("SiglipVisionModel", "SiglipVisionConfig", **CLIP, image_size=32, patch_size=8), PIXELS(32), "last_hidden_state", "pooler_output")
media("whisper_encoder", "speech", whisper_encoder, lambda: {"input_features": random_image(1, 40, 100)})
media("whisper_decoder", "speech", whisper_decoder, lambda: {"input_ids": tokens(1, 5, 300), "attention_mask": np.ones((1, 5), np.int64), "encoder_hidden_states": random_image(1, 50, 64)})
media("wav2vec2", "speech", hf("Wav2Vec2ForCTC", "Wav2Vec2Config", **SPEECH), WAVE, "logits")
media("wav2vec2_large", "speech", hf("Wav2Vec2Model", "Wav2Vec2Config", feat_extract_norm="layer", do_stable_layer_norm=True, **SPEECH), WAVE)
media("hubert", "speech", hf("HubertModel", "HubertConfig", **SPEECH), WAVE)
media("hf_vit", "classification", hf("ViTForImageClassification", "ViTConfig", num_labels=10, **VIT), PIXELS(32), "logits")
media("dinov2", "classification", hf("Dinov2Model", "Dinov2Config", **VIT), PIXELS(32))
media("segformer", "segmentation", hf("SegformerForSemanticSegmentation", "SegformerConfig", depths=[1, 1, 1, 1], hidden_sizes=[16, 32, 40, 64], num_attention_heads=[1, 2, 5, 8], decoder_hidden_size=32), PIXELS(64), "logits")


@architecture("speech", "hifigan")
def hifigan():
    """A vocoder: dilated convolutions and transposed ones, [1, frames, mels] → wave."""
    make = hf("SpeechT5HifiGan", "SpeechT5HifiGanConfig", model_in_dim=20, upsample_initial_channel=64)
    return Built(prepared(seeded(make)), {"spectrogram": random_image(1, 12, 20)}, {"spectrogram": {1: "frames"}})
