"""Tasks: what good means. One package each, with its settings, which a recipe chooses by name."""

from __future__ import annotations

from widthwise.tasks.classification.settings import ClassificationSettings
from widthwise.tasks.dimp.settings import DimpTaskSettings
from widthwise.tasks.restoration.settings import DenoisingSettings, SuperResolutionSettings
from widthwise.tasks.tracking.settings import TrackingSettings

TASKS: dict[str, type] = {
    "classification": ClassificationSettings,
    "dimp": DimpTaskSettings,
    "denoising": DenoisingSettings,
    "super_resolution": SuperResolutionSettings,
    "tracking": TrackingSettings,
}
"""Name in a recipe -> the record of its settings, whose ``open()`` gives the task. Importing them
is cheap: a task is imported when it is opened."""

__all__ = ["TASKS"]
