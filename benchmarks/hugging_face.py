"""Networks of `transformers` and `diffusers`, for `reach.py --hugging_face`.

Text, vision, detection, audio, video, several inputs and diffusion, in sizes that are as small as
their configurations allow; the code that runs is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

PACKAGES = ("transformers", "diffusers")

Built = tuple[nn.Module, Any]


def _noise(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


TOKENS = torch.randint(3, 90, (1, 12), generator=torch.Generator().manual_seed(1))
TEXT = {"input_ids": TOKENS}
BOTH = {"input_ids": TOKENS, "decoder_input_ids": TOKENS[:, :6]}
IMAGE = {"pixel_values": _noise(1, 3, 64, 64)}
SOUND = {"input_values": _noise(1, 4000) - 0.5}

SIZES = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
}
TEXT_SIZES = {"vocab_size": 100, **SIZES}
CACHELESS = {**TEXT_SIZES, "num_key_value_heads": 4, "pad_token_id": 0, "use_cache": False}
PATCHES = {**SIZES, "image_size": 64, "patch_size": 16}
STAGES: dict[str, Any] = {"hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 1, 1]}
RESNET = {"embedding_size": 16, "hidden_sizes": [32, 64, 96, 128], "depths": [1, 1, 1, 1]}
GPT = {"vocab_size": 100, "n_embd": 64, "n_layer": 2, "n_head": 4, "use_cache": False}
TWO_SIDES = {
    "vocab_size": 100,
    "d_model": 64,
    **{
        f"{side}_{what}": value
        for side in ("encoder", "decoder")
        for what, value in (("layers", 2), ("attention_heads", 4), ("ffn_dim", 128))
    },
    "pad_token_id": 0,
    "decoder_start_token_id": 1,
    "use_cache": False,
}
SOUND_SIZES = {
    **SIZES,
    "conv_dim": [32] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "vocab_size": 32,
}
DETECTOR = {
    "use_timm_backbone": False,
    "use_pretrained_backbone": False,
    "backbone": None,
    "d_model": 64,
    **{
        f"{side}_{what}": value
        for side in ("encoder", "decoder")
        for what, value in (("layers", 2), ("attention_heads", 4), ("ffn_dim", 128))
    },
    "num_queries": 10,
}
SWIN = {"image_size": 64, "embed_dim": 16, "depths": [1, 1, 1, 1], "num_heads": [1, 2, 4, 8]}


def _config(name: str, **sizes: Any) -> Any:
    """Make a configuration; one whose name is in a value makes that one first."""
    import transformers

    made = {
        key: _config(value[0], **value[1]) if isinstance(value, tuple) else value
        for key, value in sizes.items()
    }
    return getattr(transformers, f"{name}Config")(**made)


def _transformers(name: str, task: str, inputs: Any, sizes: dict[str, Any]) -> Built:
    import transformers

    return getattr(transformers, f"{name}{task}")(_config(name, **sizes)), inputs


def _diffusers(kind: str, inputs: Any, sizes: dict[str, Any]) -> Built:
    import diffusers

    return getattr(diffusers, kind)(**sizes), inputs


def _all(task: str, inputs: Any, rows: dict[str, dict[str, Any]]) -> dict[str, Callable[[], Built]]:
    return {
        f"transformers/{name.lower()}": partial(_transformers, name, task, inputs, sizes)
        for name, sizes in rows.items()
    }


_TEXTS = _all(
    "ForSequenceClassification",
    TEXT,
    {
        "Bert": TEXT_SIZES,
        "Roberta": TEXT_SIZES,
        "DistilBert": {
            "vocab_size": 100,
            "dim": 64,
            "n_layers": 2,
            "n_heads": 4,
            "hidden_dim": 128,
        },
        "Electra": {**TEXT_SIZES, "embedding_size": 32},
        "Albert": {**TEXT_SIZES, "embedding_size": 32},
        "Deberta": TEXT_SIZES,
        "DebertaV2": TEXT_SIZES,
        "MPNet": TEXT_SIZES,
        "RoFormer": TEXT_SIZES,
        "LayoutLM": TEXT_SIZES,
        "BigBird": {**TEXT_SIZES, "attention_type": "original_full"},
        "Longformer": {**TEXT_SIZES, "attention_window": 4},
        "Nystromformer": {**TEXT_SIZES, "num_landmarks": 4, "segment_means_seq_len": 12},
        "SqueezeBert": {**TEXT_SIZES, "embedding_size": 64},
        "MobileBert": {
            **TEXT_SIZES,
            "embedding_size": 32,
            "true_hidden_size": 32,
            "intra_bottleneck_size": 32,
        },
        "XLNet": {"vocab_size": 100, "d_model": 64, "n_layer": 2, "n_head": 4, "d_inner": 128},
        "FNet": {key: v for key, v in TEXT_SIZES.items() if key != "num_attention_heads"},
        "Funnel": {
            "vocab_size": 100,
            "block_sizes": [1, 1],
            "d_model": 64,
            "n_head": 4,
            "d_head": 16,
            "d_inner": 128,
        },
    },
)
_LANGUAGE = _all(
    "ForCausalLM",
    TEXT,
    {
        **{
            key: {**CACHELESS, "num_key_value_heads": 2}
            for key in ("Llama", "Mistral", "Qwen2", "Phi", "Phi3", "Cohere", "Olmo2", "Granite")
        },
        **dict.fromkeys(("GPTNeoX", "Falcon", "StableLm", "Starcoder2"), CACHELESS),
        **{key: {**CACHELESS, "head_dim": 16} for key in ("Qwen3", "Gemma2")},
        **{key: {**GPT, "rotary_dim": 8} for key in ("GPTJ", "CodeGen")},
        "Bloom": {
            "vocab_size": 100,
            "hidden_size": 64,
            "n_layer": 2,
            "n_head": 4,
            "use_cache": False,
        },
        "OPT": {
            "vocab_size": 100,
            "hidden_size": 64,
            "ffn_dim": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "word_embed_proj_dim": 64,
            "use_cache": False,
        },
        "Mixtral": {**CACHELESS, "num_key_value_heads": 2, "num_local_experts": 4},
        "Mamba": {
            "vocab_size": 100,
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "use_cache": False,
        },
        "Rwkv": {
            "vocab_size": 100,
            "hidden_size": 64,
            "attention_hidden_size": 64,
            "num_hidden_layers": 2,
            "use_cache": False,
        },
    },
)
_TRANSLATION = {
    **_all(
        "ForConditionalGeneration",
        BOTH,
        {
            **dict.fromkeys(("Bart", "Pegasus", "M2M100"), TWO_SIDES),
            "T5": {
                "vocab_size": 100,
                "d_model": 64,
                "d_kv": 16,
                "d_ff": 128,
                "num_layers": 2,
                "num_heads": 4,
                "use_cache": False,
            },
        },
    ),
    **_all("MTModel", BOTH, {"Marian": TWO_SIDES}),
}
_IMAGES = _all(
    "ForImageClassification",
    IMAGE,
    {
        **dict.fromkeys(("ViT", "DeiT", "Beit", "Dinov2"), PATCHES),
        **{
            key: {
                "image_size": 64,
                "patch_size": 2,
                "embed_dim": 24,
                "depths": [2, 2],
                "num_heads": [2, 4],
                "window_size": 4,
            }
            for key in ("Swin", "Swinv2")
        },
        **dict.fromkeys(("ConvNext", "ConvNextV2", "PoolFormer"), STAGES),
        "ResNet": RESNET,
        "RegNet": {**RESNET, "groups_width": 16},
        "Bit": {**RESNET, "embedding_size": 32, "num_groups": 8},
        "MobileViT": {"image_size": 64},
        "MobileNetV1": {"depth_multiplier": 0.25, "min_depth": 4, "image_size": 64},
        "MobileNetV2": {"depth_multiplier": 0.25, "image_size": 64},
        "EfficientNet": {
            "width_coefficient": 0.5,
            "depth_coefficient": 0.3,
            "image_size": 64,
            "hidden_dim": 640,
        },
        "Levit": {
            "image_size": 64,
            "hidden_sizes": [32, 64, 96],
            "num_attention_heads": [2, 4, 4],
            "depths": [1, 1, 1],
            "key_dim": [8, 8, 8],
        },
        **{
            key: {**STAGES, "image_size": 64, "num_attention_heads": [1, 2, 3, 4]}
            for key in ("Pvt", "PvtV2")
        },
        "FocalNet": {
            "image_size": 64,
            "embed_dim": 16,
            "depths": [1, 1, 1, 1],
            "hidden_sizes": [16, 32, 64, 128],
        },
    },
)
_PIXELS = {
    **_all(
        "ForSemanticSegmentation",
        IMAGE,
        {
            "Segformer": {**STAGES, "decoder_hidden_size": 32},
            "UperNet": {
                "backbone_config": (
                    "ConvNext",
                    {**STAGES, "out_features": [f"stage{n}" for n in range(1, 5)]},
                ),
                "hidden_size": 32,
                "auxiliary_in_channels": 48,
                "auxiliary_channels": 16,
            },
        },
    ),
    **_all(
        "ForDepthEstimation",
        IMAGE,
        {
            "DPT": {
                **PATCHES,
                "num_hidden_layers": 4,
                "backbone_out_indices": [0, 1, 2, 3],
                "neck_hidden_sizes": [16, 32, 48, 64],
                "fusion_hidden_size": 32,
            },
        },
    ),
    **_all(
        "ForImageSuperResolution",
        {"pixel_values": _noise(1, 3, 32, 32)},
        {
            "Swin2SR": {
                "image_size": 32,
                "embed_dim": 32,
                "depths": [2, 2],
                "num_heads": [2, 2],
                "window_size": 4,
            }
        },
    ),
    **_all(
        "ForInstanceSegmentation",
        IMAGE,
        {
            "MaskFormer": {
                "fpn_feature_size": 32,
                "mask_feature_size": 32,
                "backbone_config": (
                    "Swin",
                    {
                        **SWIN,
                        "patch_size": 4,
                        "window_size": 2,
                        "out_features": [f"stage{n}" for n in range(1, 5)],
                    },
                ),
                "decoder_config": ("Detr", {**DETECTOR, "d_model": 32}),
            }
        },
    ),
}
_DETECTION = _all(
    "ForObjectDetection",
    IMAGE,
    {
        "Yolos": {**PATCHES, "image_size": [64, 64], "num_detection_tokens": 10},
        **{
            key: {**DETECTOR, "backbone_config": ("ResNet", {**RESNET, "out_features": ["stage4"]})}
            for key in ("Detr", "ConditionalDetr", "TableTransformer")
        },
    },
)
_SOUNDS = {
    **_all(
        "ForCTC",
        SOUND,
        {
            **dict.fromkeys(("Wav2Vec2", "Hubert", "WavLM"), SOUND_SIZES),
            "SEW": {**SOUND_SIZES, "conv_dim": [32] * 13},
        },
    ),
    **_all(
        "ForAudioClassification",
        {"input_values": _noise(1, 64, 32)},
        {"AST": {**SIZES, "max_length": 64, "num_mel_bins": 32}},
    ),
    **_all(
        "Model",
        {"input_values": _noise(1, 1, 2400)},
        {
            "Encodec": {
                "num_filters": 8,
                "codebook_size": 16,
                "codebook_dim": 32,
                "hidden_size": 32,
            }
        },
    ),
    **_all(
        "ForConditionalGeneration",
        {"input_features": _noise(1, 16, 100), "decoder_input_ids": TOKENS[:, :6]},
        {
            "Whisper": {
                **TWO_SIDES,
                "max_source_positions": 50,
                "num_mel_bins": 16,
                "bos_token_id": 1,
                "eos_token_id": 2,
            }
        },
    ),
}
_OTHERS = {
    **_all(
        "ForVideoClassification",
        {"pixel_values": _noise(1, 4, 3, 32, 32)},
        {key: {**SIZES, "image_size": 32, "num_frames": 4} for key in ("VideoMAE", "Timesformer")},
    ),
    **_all(
        "ForPrediction",
        {"past_values": _noise(1, 32, 2)},
        {
            "PatchTST": {
                "num_input_channels": 2,
                "context_length": 32,
                "patch_length": 8,
                "patch_stride": 8,
                "d_model": 32,
                "num_attention_heads": 4,
                "ffn_dim": 64,
                "num_hidden_layers": 2,
                "prediction_length": 8,
            }
        },
    ),
    **_all(
        "Model",
        {**TEXT, **IMAGE},
        {
            "CLIP": {
                "text_config": {**TEXT_SIZES, "eos_token_id": 2, "max_position_embeddings": 32},
                "vision_config": PATCHES,
                "projection_dim": 32,
            },
            "Siglip": {
                "text_config": {
                    **TEXT_SIZES,
                    "max_position_embeddings": 16,
                    "projection_size": 64,
                },
                "vision_config": PATCHES,
            },
        },
    ),
}

LATENT, STEP, PROMPT = _noise(1, 4, 16, 16), torch.tensor([5]), _noise(1, 5, 32)
UNET = {
    "sample_size": 16,
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": (32, 64),
    "layers_per_block": 1,
    "norm_num_groups": 8,
}
CROSS = {"attention_head_dim": 4, "cross_attention_dim": 32}
VAE = {
    "block_out_channels": (32, 64),
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "norm_num_groups": 8,
}
HEADS = {"num_attention_heads": 4, "attention_head_dim": 16, "num_layers": 2, "sample_size": 16}
_DIFFUSION: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "unet2d": (
        "UNet2DModel",
        {"sample": LATENT, "timestep": STEP},
        {
            **UNET,
            "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
            "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
            "attention_head_dim": 8,
        },
    ),
    "unet2d_condition": (
        "UNet2DConditionModel",
        {"sample": LATENT, "timestep": STEP, "encoder_hidden_states": PROMPT},
        {
            **UNET,
            **CROSS,
            "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
            "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        },
    ),
    "autoencoder_kl": ("AutoencoderKL", {"sample": _noise(1, 3, 32, 32)}, VAE),
    "vq": ("VQModel", {"sample": _noise(1, 3, 32, 32)}, {**VAE, "num_vq_embeddings": 16}),
    "autoencoder_tiny": (
        "AutoencoderTiny",
        {"sample": _noise(1, 3, 32, 32)},
        {
            f"{side}_{what}": value
            for side in ("encoder", "decoder")
            for what, value in (("block_out_channels", (16, 16)),)
        }
        | {"num_encoder_blocks": (1, 1), "num_decoder_blocks": (1, 1)},
    ),
    "dit": (
        "DiTTransformer2DModel",
        {"hidden_states": LATENT, "timestep": STEP, "class_labels": torch.tensor([1])},
        {
            **HEADS,
            "in_channels": 4,
            "out_channels": 4,
            "num_embeds_ada_norm": 10,
            "norm_num_groups": 8,
        },
    ),
    "pixart": (
        "PixArtTransformer2DModel",
        {"hidden_states": LATENT, "encoder_hidden_states": PROMPT, "timestep": STEP},
        {
            **HEADS,
            "in_channels": 4,
            "out_channels": 8,
            "cross_attention_dim": 64,
            "caption_channels": 32,
            "norm_num_groups": 8,
            "use_additional_conditions": False,
        },
    ),
    "sd3": (
        "SD3Transformer2DModel",
        {
            "hidden_states": LATENT,
            "encoder_hidden_states": PROMPT,
            "pooled_projections": _noise(1, 32),
            "timestep": STEP,
        },
        {
            **HEADS,
            "patch_size": 2,
            "in_channels": 4,
            "joint_attention_dim": 32,
            "caption_projection_dim": 64,
            "pooled_projection_dim": 32,
            "out_channels": 4,
            "pos_embed_max_size": 16,
        },
    ),
    "flux": (
        "FluxTransformer2DModel",
        {
            "hidden_states": _noise(1, 16, 4),
            "encoder_hidden_states": PROMPT,
            "pooled_projections": _noise(1, 32),
            "timestep": torch.tensor([1.0]),
            "img_ids": torch.zeros(16, 3),
            "txt_ids": torch.zeros(5, 3),
        },
        {
            "patch_size": 1,
            "in_channels": 4,
            "num_layers": 1,
            "num_single_layers": 1,
            "attention_head_dim": 16,
            "num_attention_heads": 2,
            "joint_attention_dim": 32,
            "pooled_projection_dim": 32,
            "axes_dims_rope": [4, 4, 8],
        },
    ),
    "controlnet": (
        "ControlNetModel",
        {
            "sample": LATENT,
            "timestep": STEP,
            "encoder_hidden_states": PROMPT,
            "controlnet_cond": _noise(1, 3, 32, 32),
        },
        {
            **CROSS,
            "in_channels": 4,
            "block_out_channels": (32, 64),
            "layers_per_block": 1,
            "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
            "norm_num_groups": 8,
            "conditioning_embedding_out_channels": (8, 16),
        },
    ),
}

NETWORKS: dict[str, Callable[[], Built]] = {
    **_TEXTS,
    **_LANGUAGE,
    **_TRANSLATION,
    **_IMAGES,
    **_PIXELS,
    **_DETECTION,
    **_SOUNDS,
    **_OTHERS,
    **{f"diffusers/{name}": partial(_diffusers, *row) for name, row in _DIFFUSION.items()},
}
