"""Training of a siamese network as a LightningModule."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

import lightning as L
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from widthwise.data.batches import derived_seed
from widthwise.data.clips import Clip
from widthwise.data.frame_pairs import CropPair, pair_of
from widthwise.tasks.following import log_clip
from widthwise.tasks.hardware import seed_step
from widthwise.tasks.stage import StageConfig
from widthwise.tasks.tracking.pairs import balanced_loss, labels, middle_pair, training_pair
from widthwise.tracking.boxes import known
from widthwise.tracking.measures import Benchmark
from widthwise.tracking.running import Track, run_tracker
from widthwise.tracking.siamese import Scoring, Siamese


class TrackingModule(L.LightningModule):
    """Training of a network that compares a template with a search crop.

    What happens in an epoch depends only on the weights at its start, the seed and the number of
    the epoch, as in classification.

    Args:
        network: Gives scores for a template and a search crop, and has the halves `features` and
            `compare`, such as `widthwise.models.siamese.SiameseTracker`.
        clips: What is tested on.
        benchmark: By whose rules.
        radius: Pixels around the middle of a target that count as the target.
        gap: Frames between the two of a pair at most, for the test loss.
        stage: The optimizer.
        seed: Of the run.
        memory_format: What crops and weights are brought to.
        call: Calls the network in training steps on both crops.
        carried: State of an earlier optimizer of this network to start with.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        clips: Sequence[Clip],
        benchmark: Benchmark,
        radius: float,
        gap: int,
        stage: StageConfig,
        seed: int,
        memory_format: torch.memory_format = torch.contiguous_format,
        call: Callable[..., Tensor] | None = None,
        carried: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.network = network.to(memory_format=memory_format)
        self.clips = clips
        self.benchmark = benchmark
        self.radius = radius
        self.gap = gap
        self.stage = stage
        self.seed = seed
        self.memory_format = memory_format
        self._call = call or network
        self.carried = carried

    def configure_optimizers(self) -> Optimizer:
        return self.stage.build_optimizer(self.network.named_parameters(), self.carried)

    def training_step(self, batch: CropPair, batch_idx: int) -> Tensor:
        # Every step, because loaders draw from the same generator, and not as often when resumed.
        seed = derived_seed(self.seed, self.current_epoch, batch_idx, self.global_rank)
        seed_step(seed, self.device)
        inputs, distances = training_pair(batch, seed=seed)
        return self._loss(inputs, distances, self._call)

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        for number in batch.tolist():
            clip = self.clips[number]
            log_clip(
                self,
                clip,
                boxes=self.tracked(clip).boxes,
                loss=partial(self._test_loss, clip),
                benchmark=self.benchmark,
            )

    def tracked(self, clip: Clip) -> Track:
        """Follow the target of a clip with the network as it is.

        Args:
            clip: Run from its first box.

        Returns:
            Boxes and frames per second.
        """
        return run_tracker(siamese_of(self.network), clip.frames(), clip.boxes[0])

    def _test_loss(self, clip: Clip) -> Tensor:
        return self._loss(*self._pair(clip), self.network)

    def _pair(self, clip: Clip) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """The first frame, and the last that is not too far away and whose truth is known."""
        late = int(known(clip.boxes[: self.gap + 1]).nonzero()[-1])
        frames = next(iter(clip.frames(0, 1))), next(iter(clip.frames(late, late + 1)))
        template, search = pair_of(frames, (clip.boxes[0], clip.boxes[late]))
        return middle_pair((template[None].to(self.device), search[None].to(self.device)))

    def _loss(
        self, inputs: tuple[Tensor, Tensor], distances: Tensor, call: Callable[..., Tensor]
    ) -> Tensor:
        template, search = (crop.contiguous(memory_format=self.memory_format) for crop in inputs)
        scores = call(template, search)
        wanted = labels(distances, cells=scores.shape[-1], radius=self.radius)
        return balanced_loss(scores, wanted)


def siamese_of(network: nn.Module) -> Siamese:
    """Make a tracker of a network, on the device where it is."""
    device = next(network.parameters()).device
    return Siamese(cast(Scoring, network), device=device)
