"""Networks of the `spandrel` package (super-resolution, denoising, deblurring), for `reach.py`.

Every architecture that it has, most in the sizes that people train, deep ones with fewer blocks.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

PACKAGES = ("spandrel",)

Built = tuple[nn.Module, Any]


def _noise(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


def _build(architecture: str, kind: str, inputs: Any, options: dict[str, Any]) -> Built:
    module = importlib.import_module(f"spandrel.architectures.{architecture}")
    return getattr(module, kind)(**options), inputs


def _spandrel(
    architecture: str, kind: str = "", size: int = 64, inputs: Any = None, **options: Any
) -> Callable[[], Built]:
    channels = options.get("in_nc", options.get("img_channel", 3))
    image = _noise(1, channels, size, size) if inputs is None else inputs
    return partial(_build, architecture, kind or architecture, image, options)


_TWO = {"depths": (2, 2), "num_heads": (6, 6)}
_DAT = {"depth": [2, 2], "num_heads": [6, 6], "expansion_factor": 2.0}
_IN_OUT = {"num_in_ch": 3, "num_out_ch": 3}

NETWORKS: dict[str, Callable[[], Built]] = {
    f"spandrel/{name}": build
    for name, build in {
        "atd_light": _spandrel(
            "ATD", embed_dim=48, **_TWO, upscale=4, upsampler="pixelshuffledirect"
        ),
        "atd": _spandrel("ATD", embed_dim=90, **_TWO, upscale=2, upsampler="pixelshuffle"),
        "aurasr": _spandrel(
            "AuraSR",
            dim=16,
            image_size=64,
            input_image_size=16,
            style_network={"dim_in": 32, "dim_out": 64, "depth": 2},
            inputs={"lowres_image": _noise(1, 3, 16, 16), "noise": _noise(1, 32)},
        ),
        "craft": _spandrel("CRAFT"),
        "craft_x2": _spandrel("CRAFT", upscale=2, depths=[2, 2], num_heads=[6, 6]),
        "compact": _spandrel("Compact"),
        "compact_x2": _spandrel("Compact", num_feat=24, num_conv=8, upscale=2),
        "dat_light": _spandrel("DAT", embed_dim=60, depth=[18], num_heads=[6], split_size=[8, 32]),
        "dat_2": _spandrel("DAT", split_size=[8, 32], **_DAT, upscale=4),
        "dat_direct": _spandrel("DAT", embed_dim=60, **_DAT, upsampler="pixelshuffledirect"),
        "dctlsa": _spandrel("DCTLSA"),
        "ditn": _spandrel("DITN"),
        "ditn_real": _spandrel("DITN", UFONE_blocks=2, upscale=2),
        "drct": _spandrel("DRCT", embed_dim=48, gc=16, **_TWO, upscale=4, upsampler="pixelshuffle"),
        "drct_180": _spandrel("DRCT", **_TWO, upscale=2, upsampler="pixelshuffle"),
        "drunet_grey": _spandrel("DRUNet", in_nc=1),
        "drunet_color": _spandrel("DRUNet", in_nc=4, out_nc=3),
        "dncnn": _spandrel("DnCNN", in_nc=1),
        "dncnn_color": _spandrel("DnCNN", in_nc=3, out_nc=3, nb=20, act_mode="R"),
        "esrgan": _spandrel("ESRGAN", num_blocks=4),
        "esrgan_plus": _spandrel("ESRGAN", num_blocks=3, plus=True),
        "esrgan_x2": _spandrel(
            "ESRGAN", in_nc=12, num_blocks=3, scale=2, shuffle_factor=2, inputs=_noise(1, 3, 64, 64)
        ),
        "esrgan_pixelshuffle": _spandrel("ESRGAN", num_blocks=2, upsampler="pixel_shuffle"),
        "fbcnn": _spandrel("FBCNN"),
        "fbcnn_grey": _spandrel("FBCNN", in_nc=1, out_nc=1),
        "fdat": _spandrel("FDAT"),
        "fftformer": _spandrel("FFTformer", num_blocks=[1, 1, 2], num_refinement_blocks=1),
        "gfpgan": _spandrel("GFPGAN", size=512),
        "grl_tiny": _spandrel(
            "GRL",
            embed_dim=64,
            depths=[2, 2],
            num_heads_window=[2, 2],
            num_heads_stripe=[2, 2],
            upscale=4,
            upsampler="pixelshuffledirect",
        ),
        "grl": _spandrel("GRL", depths=[2, 2], num_heads_window=[3, 3], num_heads_stripe=[3, 3]),
        "hat": _spandrel(
            "HAT", embed_dim=48, window_size=16, **_TWO, upscale=4, upsampler="pixelshuffle"
        ),
        "hat_small": _spandrel(
            "HAT",
            embed_dim=144,
            compress_ratio=24,
            squeeze_factor=24,
            window_size=16,
            **_TWO,
            upscale=2,
            upsampler="pixelshuffle",
        ),
        "hvi_cidnet": _spandrel("HVICIDNet"),
        "ipt": _spandrel("IPT", size=48, num_layers=2),
        "kbnet_l": _spandrel("KBNet", "KBNet_l", num_blocks=[1, 1, 1, 1], num_refinement_blocks=1),
        "kbnet_s": _spandrel(
            "KBNet",
            "KBNet_s",
            width=32,
            middle_blk_num=2,
            enc_blk_nums=[1, 1, 1, 1],
            dec_blk_nums=[1, 1, 1, 1],
        ),
        "lama": _spandrel(
            "LaMa", in_nc=4, inputs=(_noise(1, 3, 64, 64), _noise(1, 1, 64, 64).round())
        ),
        "mm_real_sr": _spandrel("MMRealSR", **_IN_OUT, num_block=2),
        "mix_dehaze_net": _spandrel("MixDehazeNet"),
        "mix_dehaze_net_small": _spandrel("MixDehazeNet", depths=[2, 2, 4, 2, 2]),
        "moesr": _spandrel("MoESR", n_blocks=2),
        "moesr_dysample": _spandrel("MoESR", n_blocks=2, upsampler="dysample"),
        "mosr": _spandrel("MoSR", n_block=6),
        "mosr_dysample": _spandrel("MoSR", n_block=4, upsampler="dys"),
        "nafnet_width32": _spandrel(
            "NAFNet",
            width=32,
            enc_blk_nums=[1, 1, 1, 2],
            middle_blk_num=1,
            dec_blk_nums=[1, 1, 1, 1],
        ),
        "nafnet": _spandrel("NAFNet"),
        "omnisr": _spandrel("OmniSR"),
        "omnisr_5": _spandrel("OmniSR", block_num=1, res_num=5, up_scale=2),
        "plksr": _spandrel("PLKSR", n_blocks=6),
        "plksr_tiny": _spandrel("PLKSR", n_blocks=4, ccm_type="DCCM", kernel_size=13, use_ea=False),
        "realplksr": _spandrel("PLKSR", "RealPLKSR", n_blocks=6),
        "realplksr_dysample": _spandrel("PLKSR", "RealPLKSR", n_blocks=4, dysample=True),
        "rcan": _spandrel("RCAN", n_resgroups=2, n_resblocks=3),
        "rcan_unshuffle": _spandrel(
            "RCAN", n_resgroups=2, n_resblocks=2, scale=2, unshuffle_mod=True
        ),
        "rgt": _spandrel("RGT", depth=[2, 2], num_heads=[6, 6], mlp_ratio=2.0, split_size=[8, 32]),
        "realcugan_2x": _spandrel("RealCUGAN", "UpCunet2x"),
        "realcugan_2x_fast": _spandrel("RealCUGAN", "UpCunet2x_fast"),
        "realcugan_3x": _spandrel("RealCUGAN", "UpCunet3x"),
        "realcugan_4x": _spandrel("RealCUGAN", "UpCunet4x"),
        "realcugan_2x_pro": _spandrel("RealCUGAN", "UpCunet2x", pro=True),
        "restoreformer": _spandrel("RestoreFormer", ch_mult=(1, 2, 4), resolution=64),
        "retinexformer": _spandrel("RetinexFormer", stage=1),
        "safmn": _spandrel("SAFMN", dim=36),
        "safmn_large": _spandrel("SAFMN", dim=128, n_blocks=4, upscaling_factor=2),
        "safmn_bcie": _spandrel("SAFMNBCIE", dim=48, n_blocks=2, num_layers=2),
        "scunet": _spandrel("SCUNet", config=[2, 2, 2, 2, 2, 2, 2]),
        "span": _spandrel("SPAN", **_IN_OUT),
        "span_26": _spandrel("SPAN", **_IN_OUT, feature_channels=26, upscale=2, norm=False),
        "seemore": _spandrel("SeemoRe", embedding_dim=36, num_layers=2, num_experts=3),
        "swift_srgan": _spandrel("SwiftSRGAN", num_blocks=4),
        "swin2sr": _spandrel(
            "Swin2SR",
            window_size=8,
            embed_dim=60,
            **_TWO,
            upscale=4,
            upsampler="pixelshuffledirect",
        ),
        "swin2sr_classical": _spandrel(
            "Swin2SR", window_size=8, embed_dim=60, **_TWO, upsampler="pixelshuffle"
        ),
        "swinir_light": _spandrel(
            "SwinIR",
            window_size=8,
            embed_dim=60,
            mlp_ratio=2,
            **_TWO,
            upscale=2,
            upsampler="pixelshuffledirect",
        ),
        "swinir_real": _spandrel(
            "SwinIR",
            window_size=8,
            embed_dim=60,
            mlp_ratio=2,
            **_TWO,
            upscale=4,
            upsampler="nearest+conv",
            resi_connection="3conv",
        ),
        "swinir_denoising": _spandrel("SwinIR", window_size=8, embed_dim=60, mlp_ratio=2, **_TWO),
        "uformer_tiny": _spandrel("Uformer", size=128, img_size=128, embed_dim=16, depths=[2] * 9),
    }.items()
}
"""Name -> what builds the network, and what it is called with."""
