"""Training of DiMP as a LightningModule."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from widthwise.data.batches import derived_seed
from widthwise.data.clip_samples import ClipBatch, SampleSettings, sample_of
from widthwise.data.clips import Clip
from widthwise.models.dimp.losses import dimp_loss
from widthwise.models.dimp.network import Dimp
from widthwise.tasks.following import log_clip
from widthwise.tasks.hardware import seed_step
from widthwise.tasks.stage import StageConfig
from widthwise.tracking.dimp import DimpSettings, DimpTracker
from widthwise.tracking.measures import Benchmark
from widthwise.tracking.running import Track, run_tracker

Inputs = tuple[Tensor, Tensor, Tensor, Tensor]
"""What `Dimp.forward` takes."""
Target = tuple[Tensor, Tensor]
"""Where the target is in each search frame, and the boxes that are judged there."""


class DimpModule(L.LightningModule):
    """Training of a network that learns a filter from some frames and is judged on others.

    What happens in an epoch depends only on the weights at its start, the seed and the number of
    the epoch, as in classification.

    Args:
        network: To be trained.
        clips: What is tested on.
        benchmark: By whose rules.
        samples: What a sample consists of.
        stage: The optimizer.
        seed: Of the run.
        memory_format: What weights are brought to; crops follow.
        call: Calls the network in training steps.
        carried: State of an earlier optimizer of this network to start with.
    """

    def __init__(
        self,
        network: Dimp,
        *,
        clips: Sequence[Clip],
        benchmark: Benchmark,
        samples: SampleSettings,
        stage: StageConfig,
        seed: int,
        memory_format: torch.memory_format = torch.contiguous_format,
        call: Callable[..., Any] | None = None,
        carried: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.network = network.to(memory_format=memory_format)
        self.clips = clips
        self.benchmark = benchmark
        self.samples = samples
        self.stage = stage
        self.seed = seed
        self._call = call or network
        self.carried = carried

    def configure_optimizers(self) -> Optimizer:
        return self.stage.build_optimizer(self.network.named_parameters(), self.carried)

    def training_step(self, batch: ClipBatch, batch_idx: int) -> Tensor:
        # Every step, because loaders draw from the same generator, and not as often when resumed.
        seed_step(
            derived_seed(self.seed, self.current_epoch, batch_idx, self.global_rank), self.device
        )
        inputs, target = prepared(batch)
        return total_loss(self._call(*inputs), target)

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        for number in batch.tolist():
            clip = self.clips[number]
            log_clip(
                self,
                clip,
                boxes=self.tracked(clip).boxes,
                loss=partial(self._test_loss, clip, number),
                benchmark=self.benchmark,
            )

    # Boxes are refined by gradients, which tensors of inference mode do not have.
    @torch.inference_mode(False)
    @torch.no_grad()
    def tracked(self, clip: Clip) -> Track:
        """Follow the target of a clip with the network as it is.

        Args:
            clip: Run from its first box.

        Returns:
            Boxes and frames per second.
        """
        tracker = dimp_tracker(self.network, self.samples)
        return run_tracker(tracker, clip.frames(), clip.boxes[0])

    def _test_loss(self, clip: Clip, number: int) -> Tensor:
        """The loss on one sample of the clip, the same in every epoch."""
        sample = sample_of(clip, self.samples, np.random.default_rng([0, number]))
        inputs, target = prepared(ClipBatch(*(each[None].to(self.device) for each in sample)))
        return total_loss(self.network(*inputs), target)


def dimp_tracker(network: Dimp, samples: SampleSettings) -> DimpTracker:
    """Make a tracker that looks at frames as they were trained on."""
    return DimpTracker(network, DimpSettings(side=samples.side, context=samples.context))


def prepared(batch: ClipBatch) -> tuple[Inputs, Target]:
    """Make what a network is called with, and what its outputs are compared with.

    Args:
        batch: Samples. Not changed.

    Returns:
        Inputs with values of 0 to 1, and the target.
    """
    inputs = (
        batch.template_crops.float() / 255,
        batch.template_boxes,
        batch.search_crops.float() / 255,
        batch.proposals,
    )
    return inputs, (batch.search_boxes, batch.proposals)


def total_loss(outputs: Any, target: Target) -> Tensor:
    """Compute the loss of a batch.

    Args:
        outputs: Of the network.
        target: Of `prepared`.

    Returns:
        A scalar.
    """
    boxes, proposals = (each.to(outputs.overlaps.device) for each in target)
    return dimp_loss(outputs, boxes, proposals).total
