"""A teacher's scores are learnt from, and the teacher stays as it is."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from training import FLOAT32, Kept, fit
from widthwise.data.batches import eval_batches, train_batches
from widthwise.errors import ConfigError
from widthwise.tasks.classification.distillation import Distillation, softened_divergence
from widthwise.tasks.classification.settings import ClassificationSettings
from widthwise.tasks.stage import StageConfig


def test_the_divergence_is_that_of_hand() -> None:
    """Two images, two classes, temperature 2: both terms of every image, times 4, halved."""
    scores = torch.tensor([[2.0, 0.0], [0.0, 0.0]])
    taught = torch.tensor([[0.0, 0.0], [4.0, 0.0]])
    p = 1 / (1 + math.exp(-1.0))  # softmax of (2, 0) / 2
    q = 1 / (1 + math.exp(-2.0))  # softmax of (4, 0) / 2
    first = 0.5 * math.log(0.5 / p) + 0.5 * math.log(0.5 / (1 - p))
    second = q * math.log(q / 0.5) + (1 - q) * math.log((1 - q) / 0.5)
    expected = 4 * (first + second) / 2
    assert softened_divergence(scores, taught, temperature=2.0).item() == pytest.approx(expected)


def test_the_loss_is_mixed_by_the_weight() -> None:
    """With weight 0.4, the loss is 0.6 of that of the labels and 0.4 of the distance."""
    images, scores, labels = torch.randn(3, 4), torch.randn(3, 4), torch.tensor([0, 1, 3])
    loss = functional.cross_entropy(scores, labels)
    teacher = Distillation(nn.Identity(), weight=0.4, temperature=4.0)
    distance = softened_divergence(scores, images, temperature=4.0)
    expected = 0.6 * loss + 0.4 * distance
    assert torch.allclose(teacher.mixed(loss, scores, images), expected)


def test_the_teacher_stays_untouched(tmp_path: Path) -> None:
    """Neither weights nor running statistics move, it has no gradient and is not saved."""
    torch.manual_seed(0)
    teacher = nn.Sequential(
        nn.Conv2d(1, 10, 3), nn.BatchNorm2d(10), nn.Flatten(), nn.LazyLinear(10)
    )
    teacher(torch.zeros(2, 1, 8, 8))
    before = copy.deepcopy(teacher.state_dict())
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    task = ClassificationSettings(dataset="digits", batch_size=256).open()
    stage = StageConfig(epochs=1, lr=0.1, distil=0.4)
    module = task.module(network, stage, seed=0, hardware=FLOAT32, teacher=teacher)
    fit(
        module,
        Kept(tmp_path),
        config=stage,
        measures=task.measures,
        train=train_batches(task.data.train, batch_size=256, seed=0),
        test=eval_batches(task.data.test, batch_size=256),
    )
    assert module.distillation is not None
    inside = module.distillation.teacher.state_dict()
    for name, value in before.items():
        assert torch.equal(teacher.state_dict()[name], value)
        assert torch.equal(inside[name], value)
    assert all(p.grad is None and p.requires_grad for p in teacher.parameters())
    assert teacher.training
    assert set(module.state_dict()) == {"network.1.weight", "network.1.bias"}


def test_the_teacher_moves_the_network(tmp_path: Path) -> None:
    """With all weight on the teacher, the network learns the teacher's classes, not the labels."""
    task = ClassificationSettings(dataset="digits", batch_size=64).open()
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with torch.no_grad():
        teacher[1].weight.zero_()
        teacher[1].bias.copy_(10.0 * (torch.arange(10) == 7))
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    stage = StageConfig(epochs=2, lr=0.1, distil=1.0)
    module = task.module(network, stage, seed=0, hardware=FLOAT32, teacher=teacher)
    train, test = task.train(0), task.test()
    fit(module, Kept(tmp_path), config=stage, measures=task.measures, train=train, test=test)
    scores = network.eval()(task.example())
    assert scores.argmax(dim=1).tolist() == [7] * 4


def test_a_stage_that_distils_needs_a_teacher() -> None:
    """Without one, the error names the setting."""
    task = ClassificationSettings(dataset="digits").open()
    stage = StageConfig(epochs=1, distil=0.4)
    with pytest.raises(ConfigError, match=r"`distil` is 0\.4, and there is no teacher"):
        task.module(nn.Flatten(), stage, seed=0, hardware=FLOAT32)
