"""Handwritten digits bundled with scikit-learn: 1,797 grey images of 8 by 8 pixels."""

from __future__ import annotations

import numpy as np
import torch

from widthwise.data.arrays import ImageClasses, Split, channel_statistics

TEST_FRACTION = 0.25
# The split belongs to the data set: a seed of a run never moves an image into the training split.
SPLIT_SEED = 0


def load_digits() -> ImageClasses:
    """Load the digits with one fixed split, stratified by class. Nothing is downloaded.

    Returns:
        1,347 training and 450 test images, values 0 to 16.

    Example:
        >>> digits = load_digits()
        >>> len(digits.train), len(digits.test), digits.image_shape
        (1347, 450, (1, 8, 8))
    """
    from sklearn.datasets import load_digits as bundled
    from sklearn.model_selection import train_test_split

    values = bundled()
    images = torch.from_numpy(values.images.astype(np.uint8)).unsqueeze(1)
    labels = torch.from_numpy(values.target.astype(np.int64))
    train, test = train_test_split(
        np.arange(len(labels)), test_size=TEST_FRACTION, random_state=SPLIT_SEED, stratify=labels
    )
    mean, std = channel_statistics(images[train])
    return ImageClasses(
        train=Split(images=images[train], labels=labels[train]),
        test=Split(images=images[test], labels=labels[test]),
        classes=tuple(str(name) for name in values.target_names),
        mean=mean,
        std=std,
    )
