"""What every task asks of a network before it is trained."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from widthwise.errors import ConfigError


def require_outputs(
    network: nn.Module, inputs: Tensor, shape: Sequence[int], *, problem: str, hint: str
) -> None:
    """Run a network once, and see whether it gives one tensor of the expected shape.

    Args:
        network: Run in evaluation mode, without gradients; left as it was, in the mode it was in.
        inputs: A batch of what it is given.
        shape: What it has to give for each of them.
        problem: Begins the error: what does not fit what.
        hint: Ends it: the way out.

    Raises:
        ConfigError: If it does not run on these inputs, or gives something else.
    """
    training = network.training
    try:
        with torch.no_grad():
            outputs = network.eval()(inputs)
    except (RuntimeError, ValueError, TypeError) as error:
        raise ConfigError(f"{problem}: {error}\n{hint}") from error
    finally:
        network.train(training)
    if not isinstance(outputs, Tensor):
        raise ConfigError(f"{problem}: expected a tensor, got {type(outputs)}.\n{hint}")
    found, count = list(outputs.shape[1:]), list(outputs.shape[:1])
    if found != list(shape) or count != [len(inputs)]:
        raise ConfigError(
            f"{problem}: expected outputs {list(shape)} for each of {len(inputs)} inputs, "
            f"got {found} for each of {count[0] if count else 0}.\n{hint}"
        )
