"""Scenes drawn at random: the same for the same numbers, with the truth about every frame."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rendered import SMALL, still
from widthwise.data.rendering.cutouts import any_piece, cut_out, regions_of
from widthwise.data.rendering.motion import CALM, FAST, Pace, path
from widthwise.data.rendering.settings import RenderSettings
from widthwise.data.rendering.studio import Still, Studio
from widthwise.errors import ConfigError, DataError


def test_numbers_decide_a_scene(stills: tuple[Still, ...], studio: Studio) -> None:
    """The same numbers give the same pixels in another studio, others give others."""
    again = Studio(stills, SMALL)
    for first, second in ((studio, again), (studio, studio)):
        one, other = first.scene(3, 5, length=4).shot(2), second.scene(3, 5, length=4).shot(2)
        assert torch.equal(one.frame, other.frame)
        assert torch.equal(one.box, other.box)
    assert not torch.equal(
        studio.scene(3, 5, length=4).shot(2).frame, studio.scene(3, 6, length=4).shot(2).frame
    )


def test_the_box_is_where_the_target_is(stills: tuple[Still, ...]) -> None:
    """Where a scene without its target looks different, its box is."""
    settings = RenderSettings(
        width=64, height=48, smallest=8, largest=20, decoys=False, distractors=0, occlusions=0
    )
    studio = Studio(stills, settings)
    found = 0
    for number in range(12):
        scene = studio.scene(0, number, length=3)
        shot = scene.shot(1)
        assert shot.visible > 0.3
        x, y, width, height = shot.box.round().int().tolist()
        inside = torch.zeros(48, 64, dtype=torch.bool)
        inside[max(y - 2, 0) : max(y + height + 2, 0), max(x - 2, 0) : max(x + width + 2, 0)] = True
        without = studio.scene(0, number, length=3)
        gone = without.target.poses[1]
        assert gone is not None
        object.__setattr__(without.target, "cutout", _clear(without.target.cutout))
        changed = (shot.frame.int() - without.shot(1).frame.int()).abs().amax(0)
        # JPEG spreads a change over blocks of 16 pixels, faintly.
        strong = changed > 60
        assert not (strong & ~inside).any()
        found += int(strong.any())
    assert found >= 6


def _clear(cutout: object) -> object:
    from dataclasses import replace

    return replace(cutout, alpha=torch.full_like(cutout.alpha, 1e-6))  # type: ignore[type-var,attr-defined]


def test_what_passes_in_front_hides(stills: tuple[Still, ...]) -> None:
    """With occlusions in every scene some targets are hidden in part; without, none inside is."""
    hidden = {}
    for share in (0.0, 1.0):
        studio = Studio(
            stills, RenderSettings(width=64, height=48, smallest=8, largest=20, occlusions=share)
        )
        shots = [
            shot
            for number in range(10)
            for scene in [studio.scene(1, number, length=6)]
            for shot in (scene.shot(0), scene.shot(5))
        ]
        inside = [
            shot.visible
            for shot in shots
            if (shot.box[:2] >= 0).all()
            and (shot.box[:2] + shot.box[2:] <= torch.tensor([64, 48])).all()
        ]
        assert len(inside) > 5
        hidden[share] = sum(visible < 0.99 for visible in inside)
    assert hidden[0.0] == 0
    assert hidden[1.0] > 3


def test_settings_for_what_has_to_be_checked(stills: tuple[Still, ...]) -> None:
    """Decoys can be left out, and the background can have one colour."""
    bare = Studio(
        stills,
        RenderSettings(
            width=64, height=48, smallest=8, largest=20, decoys=False, distractors=0, plain=True
        ),
    ).scene(0, 0, length=2)
    assert not bare.behind
    assert float(bare.background.std(dim=(1, 2)).max()) == pytest.approx(0, abs=1e-6)
    usual = Studio(stills, SMALL).scene(0, 0, length=2)
    assert len(usual.behind) >= 3
    assert float(usual.background.std(dim=(1, 2)).max()) > 0.01


@pytest.mark.parametrize(
    ("pace", "median", "high"),
    [(CALM, (0.03, 0.09), (0.08, 0.18)), (FAST, (0.15, 0.23), (0.36, 0.49))],
)
def test_steps_are_those_of_real_clips(
    pace: Pace, median: tuple[float, float], high: tuple[float, float]
) -> None:
    """Median and 95 % of the steps lie where they were measured on annotated clips."""
    side = 40.0
    steps = np.concatenate(
        [
            np.linalg.norm(
                np.diff(
                    path(
                        np.random.default_rng(seed),
                        60,
                        start=np.array([160.0, 120.0]),
                        low=np.zeros(2),
                        high=np.array([320.0, 240.0]),
                        side=side,
                        pace=pace,
                    ),
                    axis=0,
                ),
                axis=1,
            )
            for seed in range(40)
        ]
    )
    assert median[0] <= np.median(steps) / side <= median[1]
    assert high[0] <= np.quantile(steps, 0.95) / side <= high[1]


def test_regions_that_are_no_things_are_left_out() -> None:
    """What touches the border, is tiny, long or frayed is not cut out."""
    regions = torch.zeros(200, 200, dtype=torch.int64)
    regions[60:110, 60:100] = 1
    regions[0:60, 0:60] = 2
    regions[150:160, 150:160] = 3
    regions[120:145, 20:180] = 4
    rows, columns = torch.meshgrid(torch.arange(60), torch.arange(60), indexing="ij")
    regions[60:120, 120:180] = torch.where((rows - columns).abs() < 6, 5, 0)
    masks = list(regions_of(regions))
    assert len(masks) == 1
    assert torch.equal(masks[0], regions == 1)


def test_pieces_have_soft_edges_and_lie_in_the_photograph() -> None:
    """A piece is opaque inside, clear at its edge, and its pixels are those of the photograph."""
    photograph = still(0).pixels
    for seed in range(20):
        piece = any_piece(photograph, np.random.default_rng(seed))
        assert piece.pixels.shape[1:] == piece.alpha.shape
        assert float(piece.alpha.max()) == pytest.approx(1, abs=1e-5)
        assert float(piece.alpha.min()) < 0.5
    mask = torch.zeros(96, 128, dtype=torch.bool)
    mask[20:50, 30:70] = True
    assert torch.equal(cut_out(photograph, mask).pixels, photograph[:, 18:52, 28:72].float() / 255)


def test_wrong_settings_are_named() -> None:
    """Every one in one error; one photograph is not enough."""
    with pytest.raises(ConfigError, match=r"(?s)`width` must be at least 32.*`distractors`"):
        RenderSettings(width=8, distractors=2)
    with pytest.raises(DataError, match="from 1 photographs"):
        Studio([still(0)], SMALL)
