"""Folders on the Hugging Face Hub, by addresses such as ``hf://me/narrow-resnet``."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from widthwise.errors import ConfigError, RunError
from widthwise.plans import Plan

_ADDRESS = re.compile(
    r"hf://(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^/\s]+))?(?:/(?P<folder>[^\s]*?))?/?"
)
_CARD = "README.md"


@dataclass(frozen=True)
class HubFolder:
    """A folder of a model repository on the Hub."""

    repo: str
    """Such as ``me/narrow-resnet``."""
    revision: str | None
    """A branch, a tag or a commit; the main branch by default."""
    folder: str
    """Path in the repository; empty for all of it."""

    @classmethod
    def at(cls, address: str | os.PathLike[str]) -> HubFolder | None:
        """Read an address.

        Args:
            address: ``hf://user/repository``, ``hf://user/repository@revision/folder``, or a path.

        Returns:
            The folder; None for what is a path on this machine.

        Raises:
            ConfigError: If it begins like an address, and is none.

        Example:
            >>> HubFolder.at("hf://me/nets@v2/half")
            HubFolder(repo='me/nets', revision='v2', folder='half')
        """
        if not isinstance(address, str) or not address.startswith("hf://"):
            return None
        match = _ADDRESS.fullmatch(address)
        if match is None or ".." in (match["folder"] or "").split("/"):
            raise ConfigError(
                f"`{address}` is no address of a model repository.\n"
                "Hint: write `hf://user/repository`, or `hf://user/repository@revision/folder`."
            )
        return cls(match["repo"], match["revision"], match["folder"] or "")

    def fetch(self, names: list[str]) -> Path:
        """Download files, or find them among what was downloaded before.

        Args:
            names: Files of this folder.

        Returns:
            The folder on this machine that they are in.

        Raises:
            RunError: If the repository cannot be read.
        """
        hub = _hub()
        wanted = [self._path(name) for name in names]
        try:
            root = hub.snapshot_download(self.repo, revision=self.revision, allow_patterns=wanted)
        # Network, rights, names: the package raises errors of many families.
        except Exception as error:
            raise _refused(self, "read", error) from error
        return Path(root) / self.folder

    def publish(self, local: Path, plan: Plan) -> None:
        """Upload what is in a folder on this machine, with a card if there is none.

        A repository that does not exist is made, and is private.

        Args:
            local: The folder.
            plan: What the card tells about.

        Raises:
            RunError: If the repository cannot be written.
        """
        hub = _hub()
        try:
            api = hub.HfApi()
            api.create_repo(self.repo, private=True, exist_ok=True)
            if not api.file_exists(self.repo, self._path(_CARD), revision=self.revision):
                (local / _CARD).write_text(card(self, plan), encoding="utf-8")
            api.upload_folder(
                repo_id=self.repo,
                folder_path=local,
                path_in_repo=self.folder or None,
                revision=self.revision,
                commit_message=f"{plan.model_name} of {plan.macs():,} MACs",
            )
        except Exception as error:
            raise _refused(self, "written", error) from error

    def _path(self, name: str) -> str:
        return f"{self.folder}/{name}" if self.folder else name

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return f"hf://{self.repo}{revision}" + (f"/{self.folder}" if self.folder else "")


def card(place: HubFolder, plan: Plan) -> str:
    """Say what is in a repository and how it is loaded.

    Args:
        place: Where it will be.
        plan: Of the network in it.

    Returns:
        Markdown with the metadata that the Hub reads.
    """
    name = plan.model_name
    return f"""---
library_name: widthwise
tags:
- pruning
- pytorch
---

# {name}, narrower

| | this network | full width |
|---|---|---|
| MACs of one input | {plan.macs():,} | {plan.full_macs:,} |
| parameters | {plan.params():,} | {plan.full_cost["params"]:,} |

Widths were decided by `{plan.method}`. `plan.json` has the channels that were kept,
`model.safetensors` the weights. `{name}` below is the class of the full network, or a function that
builds it.

```python
import widthwise as ww

network = ww.load("{place}", {name})
```
"""


def _hub() -> ModuleType:
    try:
        # It takes a second to import, and few need it.
        import huggingface_hub
    except ImportError as error:
        raise RunError(
            "Addresses that begin with `hf://` need the package `huggingface_hub`.\n"
            "Hint: pip install huggingface_hub"
        ) from error
    return huggingface_hub


def _refused(place: HubFolder, what: str, error: Exception) -> RunError:
    reason = str(error).strip().partition("\n")[0]
    return RunError(
        f"`{place}` cannot be {what}: {type(error).__name__}: {reason}\n"
        "Hint: check the name and the connection; what is private, and every upload, needs "
        "`hf auth login`."
    )
