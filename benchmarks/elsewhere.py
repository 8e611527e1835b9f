"""Networks of libraries that no rule was written for, for `reach.py --elsewhere`.

They need `segmentation-models-pytorch`, `ultralytics`, `transformers` and `monai`. Sizes of the
transformers are small, as their configurations allow; the code that runs is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

PACKAGES = ("segmentation-models-pytorch", "ultralytics", "transformers", "monai")

Built = tuple[nn.Module, Any]


def _noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def _segmentation(kind: str, encoder: str, size: int = 128, **options: Any) -> Built:
    import segmentation_models_pytorch

    model = getattr(segmentation_models_pytorch, kind)(
        encoder_name=encoder, encoder_weights=None, classes=4, **options
    )
    return model, _noise(1, 3, size, size)


def _ultralytics(config: str) -> Built:
    from ultralytics.nn import tasks

    kinds = {
        "-seg": tasks.SegmentationModel,
        "-pose": tasks.PoseModel,
        "-cls": tasks.ClassificationModel,
        "rtdetr": tasks.RTDETRDetectionModel,
    }
    kind = next((k for part, k in kinds.items() if part in config), tasks.DetectionModel)
    return kind(f"{config}.yaml", verbose=False), _noise(1, 3, 256, 256)


def _transformers(
    name: str, task: str, inputs: dict[str, Any] | None = None, **sizes: Any
) -> Built:
    import transformers

    config = getattr(transformers, f"{name}Config")(**sizes)
    model = getattr(transformers, f"{name}{task}")(config)
    return model, inputs or {"pixel_values": _noise(1, 3, 224, 224)}


def _monai(name: str, shape: tuple[int, ...], *args: Any, **options: Any) -> Built:
    from monai.networks import nets

    return getattr(nets, name)(*args, **options), _noise(1, *shape)


_CLASSIFY = "ForImageClassification"
_SMALL = {"num_hidden_layers": 2, "hidden_size": 128, "num_attention_heads": 4}
_VOLUME = (1, 32, 32, 32)
_IN_OUT = {"in_channels": 1, "out_channels": 2}

NETWORKS: dict[str, Callable[[], Built]] = {
    **{
        f"smp/{kind.lower()}_resnet18": partial(_segmentation, kind, "resnet18")
        for kind in (
            *("Unet", "UnetPlusPlus", "FPN", "DeepLabV3", "DeepLabV3Plus", "PSPNet", "Linknet"),
            *("MAnet", "PAN", "UPerNet"),
        )
    },
    "smp/unet_scse": partial(_segmentation, "Unet", "resnet18", decoder_attention_type="scse"),
    "smp/unet_efficientnet_b0": partial(_segmentation, "Unet", "efficientnet-b0"),
    "smp/unet_mit_b0": partial(_segmentation, "Unet", "mit_b0"),
    "smp/segformer_mit_b0": partial(_segmentation, "Segformer", "mit_b0"),
    "smp/dpt_vit_small": partial(_segmentation, "DPT", "tu-vit_small_patch16_224", 224),
    **{
        f"ultralytics/{config}": partial(_ultralytics, config)
        for config in (
            *("yolov3-tiny", "yolov5n", "yolov6n", "yolov8n", "yolov8n-seg", "yolov8n-pose"),
            *("yolov8n-cls", "yolov9t", "yolov10n", "yolo11n", "yolo12n", "rtdetr-resnet50"),
        )
    },
    "transformers/resnet": partial(_transformers, "ResNet", _CLASSIFY),
    "transformers/regnet": partial(_transformers, "RegNet", _CLASSIFY),
    "transformers/convnext": partial(_transformers, "ConvNext", _CLASSIFY),
    "transformers/mobilenet_v2": partial(_transformers, "MobileNetV2", _CLASSIFY),
    "transformers/efficientnet": partial(
        _transformers,
        "EfficientNet",
        _CLASSIFY,
        width_coefficient=0.5,
        depth_coefficient=0.5,
        hidden_dim=640,
    ),
    "transformers/poolformer": partial(_transformers, "PoolFormer", _CLASSIFY),
    "transformers/levit": partial(_transformers, "Levit", _CLASSIFY),
    "transformers/mobilevit": partial(
        _transformers, "MobileViT", _CLASSIFY, {"pixel_values": _noise(1, 3, 256, 256)}
    ),
    "transformers/vit": partial(_transformers, "ViT", _CLASSIFY, **_SMALL),
    "transformers/dinov2": partial(_transformers, "Dinov2", _CLASSIFY, **_SMALL),
    "transformers/swin": partial(
        _transformers, "Swin", _CLASSIFY, depths=[1, 1, 1, 1], num_heads=[2, 4, 8, 16], embed_dim=48
    ),
    "transformers/segformer": partial(_transformers, "Segformer", "ForSemanticSegmentation"),
    "transformers/swin2sr": partial(
        _transformers,
        "Swin2SR",
        "ForImageSuperResolution",
        {"pixel_values": _noise(1, 3, 64, 64)},
        depths=[1, 1],
        num_heads=[2, 2],
        embed_dim=60,
    ),
    "transformers/bert": partial(
        _transformers,
        "Bert",
        "ForSequenceClassification",
        {"input_ids": torch.arange(32)[None]},
        vocab_size=100,
        **_SMALL,
    ),
    "transformers/wav2vec2": partial(
        _transformers,
        "Wav2Vec2",
        "ForSequenceClassification",
        {"input_values": _noise(1, 16_000)},
        **_SMALL,
    ),
    "monai/unet": partial(
        _monai,
        "UNet",
        _VOLUME,
        spatial_dims=3,
        channels=(8, 16, 32),
        strides=(2, 2),
        num_res_units=2,
        **_IN_OUT,
    ),
    "monai/attention_unet": partial(
        _monai, "AttentionUnet", _VOLUME, 3, channels=(8, 16, 32), strides=(2, 2), **_IN_OUT
    ),
    "monai/segresnet": partial(
        _monai, "SegResNet", _VOLUME, spatial_dims=3, init_filters=8, **_IN_OUT
    ),
    "monai/dynunet": partial(
        _monai,
        "DynUNet",
        _VOLUME,
        3,
        kernel_size=[3, 3, 3],
        strides=[1, 2, 2],
        upsample_kernel_size=[2, 2],
        **_IN_OUT,
    ),
    "monai/vnet": partial(_monai, "VNet", _VOLUME, spatial_dims=3),
    "monai/unetr": partial(
        _monai,
        "UNETR",
        _VOLUME,
        img_size=(32, 32, 32),
        feature_size=8,
        hidden_size=96,
        mlp_dim=192,
        num_heads=4,
        **_IN_OUT,
    ),
    "monai/swin_unetr": partial(_monai, "SwinUNETR", (1, 64, 64, 64), feature_size=12, **_IN_OUT),
}
"""Name -> what builds the network, and what it is called with."""
