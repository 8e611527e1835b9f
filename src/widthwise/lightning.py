"""A search as a Lightning callback, for the LightningModule you already have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning as L
import torch
from torch import nn

from widthwise.errors import SearchError
from widthwise.plans import Plan
from widthwise.search.search import Search


class WidthSearch(L.Callback):
    """Search for widths while Lightning trains.

    The search is attached when fitting is set up, steps after every optimizer step, is stored in
    and restored from Lightning's checkpoints, and stops the trainer when it has reached its budget.
    The module must have one optimizer over all parameters of the network.

    Args:
        network: Name of the network among the module's attributes, such as ``"net"``.
        attach: Attaches a search to the network, such as
            ``lambda net: ww.methods.dhp(net, example, budget=ww.Macs(0.5))``.

    Example::

        search = WidthSearch("net", lambda net: ww.methods.dhp(net, example, budget=ww.Macs(0.5)))
        L.Trainer(max_epochs=100, callbacks=[search]).fit(module)
        small, plan = search.finish()
    """

    def __init__(self, network: str, attach: Callable[[nn.Module], Search]) -> None:
        self.network = network
        self.attach = attach
        self._search: Search | None = None
        self._steps_seen = 0

    @property
    def search(self) -> Search:
        """The search that is attached.

        Raises:
            SearchError: Before fitting.
        """
        if self._search is None:
            raise SearchError(
                "The search is not attached yet.\n"
                "Why: it is attached when fitting is set up, where the network is known.\n"
                "Hint: call `trainer.fit(module)` first."
            )
        return self._search

    def finish(self, optimizer: torch.optim.Optimizer | None = None) -> tuple[nn.Module, Plan]:
        """End the search.

        Args:
            optimizer: The optimizer that trained the search, to be taken along; see
                `Search.finish`.

        Returns:
            The shrunk network, which meets the budget, and its plan.
        """
        return self.search.finish(optimizer)

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if stage != "fit" or self._search is not None:
            return
        network = getattr(pl_module, self.network, None)
        if not isinstance(network, nn.Module):
            children = ", ".join(f"`{name}`" for name, _ in pl_module.named_children()) or "none"
            raise SearchError(
                f"`{type(pl_module).__name__}` has no network `{self.network}`.\n"
                f"Its modules are: {children}."
            )
        # A search makes its parts where the network is, and Lightning moves only parameters later.
        self._search = self.attach(network.to(trainer.strategy.root_device))

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if len(trainer.optimizers) != 1:
            raise SearchError(
                f"A search needs exactly one optimizer: `{type(pl_module).__name__}` has "
                f"{len(trainer.optimizers)}.\n"
                "Why: the latents move with the learning rate of the optimizer that trains them."
            )
        self._steps_seen = trainer.global_step
        # Restored from a checkpoint that was saved when the search had just ended.
        trainer.should_stop = trainer.should_stop or self.search.done

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        # With gradient accumulation, not every batch steps the optimizer.
        if trainer.global_step == self._steps_seen:
            return
        self._steps_seen = trainer.global_step
        self.search.step(trainer.optimizers[0])
        if self.search.done:
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        return {} if self._search is None else self._search.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.search.load_state_dict(state_dict)
