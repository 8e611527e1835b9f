"""What tasks of following clips share."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from widthwise.data.clips import Clip
from widthwise.errors import DataError
from widthwise.tasks.following import log_clip, with_truth
from widthwise.tracking.measures import BENCHMARKS


def clip(frames: int) -> Clip:
    """A target that does not move."""
    return Clip(
        name=f"still-{frames}",
        images=[torch.zeros(3, 40, 60, dtype=torch.uint8)] * frames,
        boxes=torch.tensor([[5.0, 5, 20, 10]]).repeat(frames, 1).double(),
        absent=torch.zeros(frames, dtype=torch.bool),
    )


@pytest.mark.parametrize(("rules", "weight"), [("otb", 1), ("got10k", 4)])
def test_a_clip_weighs_what_its_rules_say(rules: str, weight: int) -> None:
    """As much as any other, or as many times as it has frames that count."""
    logged: list[tuple[dict[str, Any], int]] = []
    module: Any = SimpleNamespace(
        log_dict=lambda values, *, batch_size, **_: logged.append((values, batch_size))
    )
    still = clip(5)
    log_clip(
        module,
        still,
        boxes=still.boxes,
        loss=lambda: torch.tensor(2.0),
        benchmark=BENCHMARKS[rules],
    )
    ((values, seen),) = logged
    assert seen == weight
    assert values["test_loss"] == 2
    assert values["test_success_50"] == 1


def test_a_clip_without_a_frame_that_counts_is_left_out() -> None:
    """GOT-10k does not count first frames, and there are no others here."""
    module: Any = SimpleNamespace(log_dict=lambda *_, **__: pytest.fail("something was logged"))
    alone = clip(1)
    unused = torch.tensor(float("nan"))
    log_clip(module, alone, boxes=alone.boxes, loss=lambda: unused, benchmark=BENCHMARKS["got10k"])
    assert len(alone) == 1


def test_clips_whose_boxes_are_kept_back_are_left_out() -> None:
    """Those with a first box alone; an error if there are no others."""
    kept_back = clip(3)
    kept_back.boxes[1:] = float("nan")
    judged = clip(4)
    assert with_truth([kept_back, judged], "sets") == [judged]
    with pytest.raises(DataError, match="`sets`"):
        with_truth([kept_back], "sets")
