"""The classifier's features and first filter are what the paper says, at any width."""

from __future__ import annotations

import torch
from torch import nn

from widthwise.models.dimp.classifier import Classifier, NormalisedFeatures
from widthwise.models.dimp.precise_pooling import precise_pooling


def test_normalisation_is_the_published_formula() -> None:
    """Each sample is scaled by s * sqrt(C * H * W / sum), s = sqrt(1 / (C * 4 * 4))."""
    features = torch.randn(2, 5, 6, 7) * torch.tensor([1.0, 9.0])[:, None, None, None]
    scaled = NormalisedFeatures()(features)
    for given, made in zip(features, scaled, strict=True):
        energy = given.square().sum() + 1e-5
        expected = given * (1 / (5 * 4 * 4)) ** 0.5 * (5 * 6 * 7 / energy).sqrt()
        torch.testing.assert_close(made, expected)


def test_channels_of_zeros_change_nothing() -> None:
    """A narrower network, whose other channels are gone, scales what it keeps alike."""
    features = torch.randn(1, 8, 6, 6)
    features[:, 4:] = 0
    normalise = NormalisedFeatures()
    torch.testing.assert_close(normalise(features)[:, :4], normalise(features[:, :4]))


def test_first_filter_is_the_mean_of_pooled_targets() -> None:
    """Frames are convolved and pooled one by one, and sequences of a batch are kept apart."""
    classifier = Classifier(6, 4, blocks=0, stride=16)
    features, boxes = torch.randn(2, 3, 4, 6, 6), torch.rand(2, 3, 4) * 30 + 20
    found = classifier.first_filter(features, boxes)
    for row in range(2):
        pooled = [
            precise_pooling(
                classifier.before_pooling(features[row, [frame]]),
                boxes[None, row, [frame]],
                size=4,
                stride=16,
            )[0, 0]
            for frame in range(3)
        ]
        torch.testing.assert_close(found[row], torch.stack(pooled).mean(0))


def test_convolutions_start_as_published() -> None:
    """Weights have variance 2 / (k * k * C_out), and biases are zero."""
    torch.manual_seed(0)
    classifier = Classifier(64, 128, blocks=1, stride=16)
    convolutions = [each for each in classifier.modules() if isinstance(each, nn.Conv2d)]
    assert len(convolutions) == 4
    for each in convolutions:
        expected = (2 / (9 * each.out_channels)) ** 0.5
        torch.testing.assert_close(each.weight.std().item(), expected, rtol=0.02, atol=0)
        assert each.bias is None or not each.bias.any()
    assert convolutions[-1].bias is not None
