"""What no trace can follow is refused by name, with the way out."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

import widthwise as ww
from widthwise.errors import TraceError

IMAGE = torch.zeros(1, 3, 8, 8)


def test_lazy_layers_are_named() -> None:
    """Before their first call they have no width that could be narrowed; afterwards they have."""
    net = nn.Sequential(nn.LazyConv2d(8, 3), nn.Conv2d(8, 2, 1))
    with pytest.raises(TraceError, match=r"`0\.weight`.*lazy layer(?s:.*)call the network once"):
        ww.trace(net, IMAGE)
    net(IMAGE)
    assert ww.trace(net, IMAGE).axes["0"].frozen is None


@pytest.mark.filterwarnings("ignore:.*torch.jit.*")
def test_scripts_are_named() -> None:
    """The whole network, or a part of it."""
    script = torch.jit.script(nn.Conv2d(3, 8, 1))
    with pytest.raises(TraceError, match="TorchScript"):
        ww.trace(script, IMAGE)
    with pytest.raises(TraceError, match="`0` of `Sequential` is compiled to TorchScript"):
        ww.trace(nn.Sequential(script, nn.Conv2d(8, 2, 1)), IMAGE)


def test_packed_sequences_and_empty_batches_are_refused() -> None:
    """Inputs that cannot go without values, and inputs that cost nothing."""
    packed = pack_padded_sequence(torch.randn(2, 6, 4), torch.tensor([6, 4]), batch_first=True)
    with pytest.raises(TraceError, match="PackedSequence"):
        ww.trace(nn.LSTM(4, 5, batch_first=True), (packed,))
    with pytest.raises(TraceError, match=r"batch of none: \[0, 3, 8, 8\]"):
        ww.trace(nn.Conv2d(3, 4, 1), IMAGE[:0])
