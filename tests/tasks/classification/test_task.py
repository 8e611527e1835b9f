"""Classification as a task: what a job asks of it."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from training import FLOAT32
from widthwise.errors import ConfigError, DataError
from widthwise.tasks import TASKS
from widthwise.tasks.classification.settings import ClassificationSettings
from widthwise.tasks.classification.task import Classification
from widthwise.tasks.hardware import HardwareConfig, Precision


def open_digits(**settings: object) -> Classification:
    return ClassificationSettings(dataset="digits", **settings).open()


def linear() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def test_a_task_is_chosen_by_name() -> None:
    """The registry gives the settings, which open the task."""
    assert isinstance(TASKS["classification"](dataset="digits").open(), Classification)


def test_examples_are_normalised() -> None:
    """Raw values minus mean, divided by standard deviation, of the first training images."""
    task = open_digits()
    raw = task.data.train.first(4).float()
    assert torch.allclose(task.example(), (raw - task.data.mean[0]) / task.data.std[0])


@pytest.mark.parametrize(
    ("network", "problem"),
    [
        (nn.Conv2d(3, 10, 3), "channels"),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 9)), r"expected outputs \[10\].*got \[9\]"),
        (nn.Conv2d(1, 10, 3), r"expected outputs \[10\].*got \[10, 6, 6\]"),
    ],
)
def test_a_network_that_does_not_fit_is_refused(network: nn.Module, problem: str) -> None:
    """The error says what was expected and got, and names the options to set."""
    pattern = rf"`digits` of 1x8x8 images in 10 classes(?s:.*){problem}(?s:.*)model\.options"
    with pytest.raises(ConfigError, match=pattern):
        open_digits().check(network)
    assert network.training


def test_a_batch_is_decided_by_its_seed() -> None:
    """Same seed, same images and labels; another seed, others; labels belong to their images."""
    task = open_digits(batch_size=32, shift=1)
    images, labels = task.batch(3)
    again, other = task.batch(3), task.batch(4)
    assert torch.equal(images, again[0]) and torch.equal(labels, again[1])
    assert not torch.equal(images, other[0])
    plain_images, plain_labels = open_digits(batch_size=32).batch(3)
    everything = (task.data.train.images.float() - task.data.mean[0]) / task.data.std[0]
    for image, label in zip(plain_images, plain_labels, strict=True):
        same = (everything - image).abs().amax(dim=(1, 2, 3)) < 1e-6
        assert label in task.data.train.labels[same]


def test_a_batch_larger_than_the_split_is_refused() -> None:
    """The error names the setting and its largest value."""
    with pytest.raises(DataError, match=r"`task\.batch_size` to at most 1347"):
        open_digits(batch_size=1348).batch(0)


def test_the_loss_is_without_extras() -> None:
    """Label smoothing is left out: it is the plain cross-entropy."""
    scores, labels = torch.randn(4, 10), torch.arange(4)
    found = open_digits(label_smoothing=0.5).loss(scores, labels)
    assert torch.equal(found, functional.cross_entropy(scores, labels))


def test_the_accuracy_is_the_share_of_right_images() -> None:
    """It equals a count by hand over all test images."""
    task, network = open_digits(), linear()
    images = (task.data.test.images.float() - task.data.mean[0]) / task.data.std[0]
    right = (network(images).argmax(dim=1) == task.data.test.labels).float().mean()
    found = task.evaluate(network, FLOAT32)
    assert found == {"accuracy": pytest.approx(right.item(), abs=1e-7)}


def test_a_network_is_measured_in_the_precision_of_its_run() -> None:
    """With bfloat16, the last layer puts out bfloat16; parameters stay float32."""
    seen: list[torch.dtype] = []
    network = linear()
    network[1].register_forward_hook(lambda *args: seen.append(args[2].dtype))
    hardware = HardwareConfig(accelerator="cpu", precision=Precision.bfloat16)
    open_digits().evaluate(network, hardware)
    assert set(seen) == {torch.bfloat16}
    assert network[1].weight.dtype is torch.float32


def test_facts_say_how_to_use_the_network() -> None:
    """Class names and normalisation, as plain values."""
    facts = open_digits().facts()
    assert facts["classes"] == [str(digit) for digit in range(10)]
    assert len(facts["mean"]) == len(facts["std"]) == 1


def test_wrong_settings_are_all_named() -> None:
    """One error lists every wrong setting by its key in a recipe."""
    with pytest.raises(ConfigError) as caught:
        ClassificationSettings(dataset="digits", batch_size=0, mixup=-1.0, workers=-1)
    assert all(f"`task.{name}`" in str(caught.value) for name in ("batch_size", "mixup", "workers"))


def test_images_are_scaled_as_a_trained_network_is_used_to() -> None:
    """By the means and deviations that are given, one per channel, or not at all."""
    own = ClassificationSettings(dataset="digits").open()
    given = ClassificationSettings(dataset="digits", mean=(0.02,), std=(0.04,)).open()
    raw = own.data.train.first(len(own.example()))
    assert torch.allclose(given.example(), (raw - 255 * 0.02) / (255 * 0.04), atol=1e-5)
    assert not torch.allclose(given.example(), own.example(), atol=1e-2)
    with pytest.raises(ConfigError, match=r"`task\.std` has 3 values.*have 1 channels"):
        _ = ClassificationSettings(dataset="digits", std=(0.2, 0.2, 0.2)).open().data
    for wrong in ({"mean": (127.5,)}, {"std": (0.0,)}):
        with pytest.raises(ConfigError, match=f"task.{next(iter(wrong))}"):
            ClassificationSettings(dataset="digits", **wrong)
