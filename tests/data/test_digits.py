"""The digits are the same for everyone."""

from __future__ import annotations

import pytest
import torch

from widthwise.data import load_dataset, load_digits
from widthwise.errors import ConfigError


def test_the_split_is_fixed_and_stratified() -> None:
    """Every class has a quarter of its images in the test split, and no image is in both."""
    digits = load_digits()
    train, test = (torch.bincount(split.labels) for split in (digits.train, digits.test))
    assert int((train + test).sum()) == 1797
    assert torch.all((test - (train + test) / 4).abs() <= 1)
    assert digits.test.labels[:5].tolist() == load_digits().test.labels[:5].tolist()


def test_images_are_raw_and_statistics_are_of_the_training_split() -> None:
    """Images are uint8 from 0 to 16; mean and standard deviation normalise the training split."""
    digits = load_digits()
    assert digits.train.images.dtype == torch.uint8
    assert digits.image_shape == (1, 8, 8)
    assert int(digits.train.images.max()) == 16
    normalised = (digits.train.images.double() - digits.mean[0]) / digits.std[0]
    assert abs(float(normalised.mean())) < 1e-9
    assert abs(float(normalised.std()) - 1) < 1e-4


def test_an_unknown_data_set_names_the_nearest() -> None:
    """A wrong name is an error with the nearest name and all there are."""
    with pytest.raises(ConfigError, match=r"nearest name is `digits`; there are `digits`"):
        load_dataset("digit")
