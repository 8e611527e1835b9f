"""Backbones of a tracker: the layers of a classifier up to stride 16, with two maps as outputs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from widthwise.errors import ConfigError
from widthwise.models.registry import resolve
from widthwise.network.batches import evaluating

_SIDE = 64
"""Of the image on which maps are looked at, in pixels."""


def backbone_named(name: str, strides: tuple[int, int], *, pretrained: bool) -> nn.Module:
    """Build a backbone by the name of a network.

    Args:
        name: Of a network of timm, of which only what is needed is built; or a MODEL as
            `widthwise.models.resolve` takes it, such as the run folder of a narrowed classifier,
            whose weights stay.
        strides: Pixels per cell of the two maps, the finer one first.
        pretrained: Whether a network of timm gets the weights that timm has for it.

    Returns:
        A module that returns the two maps.

    Raises:
        ConfigError: If there is no such network, or it has no such maps.
    """
    if not ("/" in name or ":" in name or (Path(name) / "plan.json").is_file()):
        return _from_timm(name, strides, pretrained=pretrained)
    if pretrained:
        raise ConfigError(
            f"`pretrained` has no effect on the backbone `{name}`.\n"
            "Why: timm has weights for its own names alone; a run folder comes with its weights.\n"
            "Hint: leave it out, or name a network of timm, such as `resnet50`."
        )
    return Trunk(resolve(name).build(), strides)


class Trunk(nn.Module):
    """The first layers of a classifier, up to the last map of some strides.

    The layers are the classifier's own, called one after the other; they keep weights and widths.
    Where a stage ends is read off a run: the last layer before the map gets smaller.

    Args:
        network: With layers that hand on a single map. What comes after the maps is let go of.
        strides: Pixels per cell of the maps.

    Raises:
        ConfigError: If the network has no such maps, or its layers alone do not make them.

    Example:
        >>> from widthwise.models import resolve
        >>> trunk = Trunk(resolve("torchvision/resnet18").build(), (8, 16))
        >>> [tuple(each.shape) for each in trunk(torch.zeros(1, 3, 64, 64))]
        [(1, 128, 8, 8), (1, 256, 4, 4)]
        >>> [name for name, _ in trunk.named_children()][-3:]
        ['layer1', 'layer2', 'layer3']
    """

    def __init__(self, network: nn.Module, strides: Sequence[int]) -> None:
        super().__init__()
        try:
            made, image = _made_by(network)
        # What layers raise on images that are too small for them, or of another shape.
        except (RuntimeError, ValueError, TypeError, AssertionError) as error:
            size = f"{_SIDE}x{_SIDE}"
            raise _unfit(
                network, f"it does not run on an image of {size} pixels: {error}", strides
            ) from error
        steps = _steps(made, network, strides)
        ends = [_last_before(steps, stride) for stride in strides]
        if None in ends:
            raise _unfit(network, f"its layers make maps of strides {_told(steps)}", strides)
        self._ends = tuple(end for end in ends if end is not None)
        paths = [path for path, _ in steps[: max(self._ends) + 1]]
        self._names = tuple(path.replace(".", "_") for path in paths)
        for name, path in zip(self._names, paths, strict=True):
            self.add_module(name, network.get_submodule(path))
        expected = [made[paths[end]] for end in self._ends]
        with evaluating(self), torch.no_grad():
            found = self(image)
        for one, other in zip(found, expected, strict=True):
            # On the meta device there is nothing to compare.
            if not image.is_meta and not torch.allclose(one, other, rtol=1e-4, atol=1e-5):
                raise _unfit(network, "it does more than to call its layers in turn", strides)

    def forward(self, images: Tensor) -> list[Tensor]:
        maps, current = [], images
        for number, name in enumerate(self._names):
            current = getattr(self, name)(current)
            if number in self._ends:
                maps.append(current)
        return maps


def _made_by(network: nn.Module) -> tuple[dict[str, Any], Tensor]:
    """Run a network, and note what each module returned last, in the order in which they ended."""
    made: dict[str, Any] = {}

    def note(path: str, output: Any) -> None:
        # A copy, because the next layer may work in place.
        made[path] = output.clone() if isinstance(output, Tensor) else None

    hooks = [
        module.register_forward_hook(lambda _, __, output, path=path: note(path, output))
        for path, module in network.named_modules()
        if path
    ]
    parameter = next(network.parameters(), torch.zeros(()))
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, 3, _SIDE, _SIDE, generator=generator, device="cpu").to(parameter)
    try:
        with evaluating(network), torch.no_grad():
            network(image)
    finally:
        for hook in hooks:
            hook.remove()
    return made, image


def _steps(
    made: dict[str, Any],
    network: nn.Module,
    strides: Sequence[int],
    *,
    parent: str = "",
    before: int = 1,
) -> list[tuple[str, int | None]]:
    """List the layers in order, with the strides of what they return; None for other things."""
    steps: list[tuple[str, int | None]] = []
    for path, output in made.items():
        if path.rpartition(".")[0] != parent:
            continue
        stride = _stride(output)
        # A sequence that ends beyond a wanted stride is opened, for the map is inside of it.
        passed = stride is not None and any(before < each < stride for each in strides)
        if passed and isinstance(network.get_submodule(path), nn.Sequential):
            steps += _steps(made, network, strides, parent=path, before=before)
        else:
            steps.append((path, stride))
        before = stride or before
    return steps


def _stride(output: Any) -> int | None:
    if isinstance(output, Tensor) and output.ndim == 4 and output.shape[3] > 0:
        return _SIDE // output.shape[3]
    return None


def _last_before(steps: Sequence[tuple[str, int | None]], stride: int) -> int | None:
    """Find the last step of a stride before the map gets smaller."""
    found = None
    for number, (_, each) in enumerate(steps):
        if each is None or each > stride:
            break
        if each == stride:
            found = number
    return found


def _told(steps: Sequence[tuple[str, int | None]]) -> str:
    return ", ".join(str(each) for each in dict.fromkeys(each for _, each in steps if each))


def _unfit(network: nn.Module, problem: str, strides: Sequence[int]) -> ConfigError:
    wanted = " and ".join(map(str, strides))
    return ConfigError(
        f"`{type(network).__name__}` does not serve as a backbone: {problem}.\n"
        f"Why: maps of strides {wanted} are read off a classifier, and what comes after is cut "
        "off.\n"
        "Hint: residual networks such as `torchvision/resnet50` serve; in Python, pass a module "
        "that returns the maps."
    )


def _from_timm(name: str, strides: tuple[int, int], *, pretrained: bool) -> nn.Module:
    import timm

    try:
        # Which of its maps have which strides is asked of a network without weights; what comes
        # after the last one that is wanted is then not built.
        with torch.device("meta"):
            probe: Any = timm.create_model(name, features_only=True)
        offered = list(probe.feature_info.reduction())
        levels = tuple(offered.index(stride) for stride in strides)
        return timm.create_model(
            name, pretrained=pretrained, features_only=True, out_indices=levels
        )
    except (RuntimeError, TypeError, AttributeError, AssertionError, ValueError) as error:
        raise ConfigError(
            f"timm cannot build `{name}` as the backbone of a tracker: {error}\n"
            f"Why: DiMP reads maps of strides {strides[0]} and {strides[1]} off a network of "
            "timm.\n"
            "Hint: `timm.list_models()` lists names, such as `resnet18` and `resnet50`; a run "
            "folder with a plan.json is a backbone too."
        ) from error
