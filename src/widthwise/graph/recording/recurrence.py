"""What PyTorch's recurrent layers do that a pass of one step, or of one example, does not show."""

from __future__ import annotations

from torch import nn

from widthwise.graph.recording.ledger import PassLedger


def note_recurrence(ledger: PassLedger, model: nn.Module) -> None:
    """Tie what recurrent layers put out with what they read in the next step.

    The hidden units of an LSTM that projects them stay: PyTorch tells by their number that it does,
    and with as many as projected ones it takes the weights of the projection for too many.

    Args:
        ledger: A ledger with labels; changed.
        model: The network of the pass.
    """
    for path, module in model.named_modules():
        if not isinstance(module, nn.RNNBase):
            continue
        for name, _ in module.named_parameters(recurse=False):
            if not name.startswith("weight_hh_"):
                continue
            full = f"{path}.{name}".strip(".")
            read, made = ledger.ids_of(full, 1), ledger.ids_of(full, 0)
            if module.proj_size:
                projection = full.replace("weight_hh_", "weight_hr_")
                made, hidden = ledger.ids_of(projection, 0), ledger.ids_of(projection, 1)
                if hidden is not None:
                    where = f"`{path}`" if path else "the network"
                    reason = f"hidden units that {where} projects must outnumber the projected"
                    ledger.freeze(hidden, reason)
            if read is not None and made is not None:
                # The rows of an LSTM or a GRU are those of its gates, one below the other.
                ledger.tie(read, made[: len(read)])
