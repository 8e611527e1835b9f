"""Checkpoints of one stage: the last two, each whole or not there, and checked when read."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.plugins.io import CheckpointIO

from widthwise.errors import RunError
from widthwise.runs import RunFolder
from widthwise.runs.processes import is_leader
from widthwise.runs.writing import cannot_write, write_stream

_STAMP = "widthwise"


class StageCheckpoints(CheckpointIO):
    """Two files, ``last.ckpt`` and the one before it, as a Lightning plugin.

    Two, because a file can be damaged after it was written. Only tensors and plain values are
    stored, so reading one never runs code from it.

    Args:
        folder: Where the files are.
        stage: Name of the stage; a checkpoint of another stage is refused.
    """

    def __init__(self, folder: Path, *, stage: str) -> None:
        self.folder = folder
        self.stage = stage
        self.last = folder / "last.ckpt"
        self.previous = folder / "previous.ckpt"

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        stamped = {**checkpoint, _STAMP: {"stage": self.stage}}
        newest = self.folder / "next.ckpt"
        write_stream(newest, lambda file: torch.save(stamped, file))
        # A kill between these leaves `previous`, which is complete: one epoch is repeated.
        try:
            if self.last.exists():
                self.last.replace(self.previous)
            newest.replace(self.last)
        except OSError as error:
            raise RunError(cannot_write(self.last, error)) from error

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Any | None = "cpu",
        weights_only: bool | None = True,
    ) -> dict[str, Any]:
        return torch.load(path, map_location=map_location, weights_only=True)

    def remove_checkpoint(self, path: str | Path) -> None:
        Path(path).unlink(missing_ok=True)

    def latest(self) -> tuple[Path | None, str]:
        """Find the newest checkpoint that can be read.

        Returns:
            Its path, or None if the stage has not saved any; and a note about damaged files that
            were passed over, which is empty if there were none.

        Raises:
            RunError: If there are checkpoints but none can be read, or one is of another stage.
        """
        damaged: list[str] = []
        for path in (self.last, self.previous):
            if not path.exists():
                continue
            try:
                _check_sums(path)
                checkpoint = self.load_checkpoint(path)
            # Damaged zip or pickle data makes the readers raise almost anything.
            except Exception as error:
                damaged.append(f"`{path}` ({_first_line(error)})")
                continue
            self._check_stage(path, checkpoint)
            note = f"Damaged, not used: {damaged[0]}." if damaged else ""
            return path, note
        if damaged:
            raise RunError(
                f"No checkpoint of stage `{self.stage}` can be read:\n    "
                + "\n    ".join(damaged)
                + "\nWhy: the files were cut short or changed after they were written.\n"
                f"Hint: delete `{self.folder}` and resume; only this stage starts again."
            )
        return None, ""

    def drop(self) -> None:
        """Remove all of them, once the stage has ended and what it hands on is on disk.

        Does nothing where they are gone already. Of several processes only the leader removes.
        """
        if not is_leader():
            return
        for path in (self.last, self.previous):
            path.unlink(missing_ok=True)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _check_stage(self, path: Path, checkpoint: dict[str, Any]) -> None:
        stamp = checkpoint.get(_STAMP)
        found = f"of stage `{stamp['stage']}`" if stamp else "not written by Widthwise"
        if not stamp or stamp["stage"] != self.stage:
            raise RunError(
                f"The checkpoint `{path}` is {found}, expected stage `{self.stage}`.\n"
                "Why: stages train different networks; weights of one do not fit the other.\n"
                f"Hint: delete `{self.folder}` and resume; only this stage starts again."
            )


def checkpoints_of(run: RunFolder, stage: str) -> StageCheckpoints:
    """Find the checkpoints of a stage in a run folder.

    Args:
        run: The run folder.
        stage: Name of the stage.

    Returns:
        Its checkpoints, whether there are any yet or not.
    """
    return StageCheckpoints(run.path / "checkpoints" / stage, stage=stage)


class SaveEveryEpoch(L.Callback):
    """Saves a checkpoint after every epoch.

    Args:
        checkpoints: Where to; the trainer must have it as a plugin.
    """

    def __init__(self, checkpoints: StageCheckpoints) -> None:
        self.checkpoints = checkpoints

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        trainer.save_checkpoint(self.checkpoints.last)


def _check_sums(path: Path) -> None:
    # `torch.load` does not: a flipped bit would become a wrong weight.
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged:
        raise ValueError(f"wrong checksum of {damaged}")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
