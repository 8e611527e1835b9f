"""A promise that a compressed network keeps, in the place of a budget."""

from __future__ import annotations

import re
from dataclasses import dataclass

from widthwise.compression.record import Trial
from widthwise.errors import BudgetError, ConfigError

_FORM = re.compile(r"\s*(agreement|measure|drop)\s*(>=|<=)\s*([0-9.eE+-]+)(%?)\s*")
_SIGNS = {"agreement": ">=", "measure": ">=", "drop": "<="}


@dataclass(frozen=True)
class Promise:
    """What must hold on inputs that are held out.

    Attributes:
        text: As the user wrote it.
        of: ``agreement``, ``measure`` or ``drop`` (of the measure).
        bound: The least agreement or measure, or the largest drop.
    """

    text: str
    of: str
    bound: float

    @classmethod
    def read(cls, text: str, *, measured: bool) -> Promise:
        """Read a promise such as ``agreement>=0.95``.

        Args:
            text: What the user wrote.
            measured: Whether there is a measure to speak of.

        Returns:
            The promise.

        Raises:
            ConfigError: If it cannot be read, or speaks of a measure that there is not.
        """
        match = _FORM.fullmatch(text)
        try:
            bound = float(match[3]) / (100 if match[4] else 1) if match else float("nan")
        except ValueError:
            bound = float("nan")
        if match is None or _SIGNS[match[1]] != match[2] or bound != bound:
            raise ConfigError(
                f"`{text}` is no promise to stop at.\n"
                "Expected: agreement>=0.95, measure>=0.9 or drop<=0.01, with numbers of your own."
            )
        if match[1] != "agreement" and not measured:
            raise ConfigError(
                f"`{text}` speaks of a measure, and there is none.\n"
                "Hint: pass `measure`, a function of a network that returns how good it is."
            )
        return cls(text, match[1], bound)

    def check(self, *, answers: bool, full: float | None) -> None:
        """Find out before all the work whether a promise can be kept at all.

        Args:
            answers: Whether the network returns scores of classes.
            full: What the measure of the full network is.

        Raises:
            ConfigError: If it speaks of an agreement that there cannot be.
            BudgetError: If the full network itself is not as good.
        """
        if self.of == "agreement" and not answers:
            raise ConfigError(
                f"`{self.text}`: the outputs of this network are no scores of classes.\n"
                "Hint: pass a `measure`, and stop at `measure>=...` or `drop<=...`."
            )
        if self.of == "measure" and full is not None and full < self.bound:
            raise BudgetError(
                f"`{self.text}` cannot be kept: the full network measures {full:.4g}.\n"
                "Hint: promise less, or a largest `drop`."
            )

    def is_kept(self, trial: Trial, full: float | None) -> bool:
        """Tell whether a trial keeps it; `full` is the measure of the full network."""
        if self.of == "agreement":
            assert trial.agreement is not None, "checked before"
            return trial.agreement >= self.bound
        assert trial.measure is not None and full is not None
        return (
            trial.measure >= self.bound
            if self.of == "measure"
            else full - trial.measure <= self.bound
        )
