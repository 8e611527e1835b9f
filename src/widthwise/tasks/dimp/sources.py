"""The clips of a recipe: opened, chosen by name, cut to a length."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from widthwise.data.clip_layouts import open_clips
from widthwise.data.clip_layouts.coco import open_stills
from widthwise.data.clip_layouts.lines import lines_in
from widthwise.data.clip_samples import Pool
from widthwise.data.clips import Clip
from widthwise.errors import DataError
from widthwise.tasks.dimp.settings import ClipSource, DimpTaskSettings
from widthwise.tasks.following import with_truth


def training_pool(source: ClipSource) -> Pool:
    """Open a folder to train on.

    Args:
        source: Names it, and which of its clips.

    Returns:
        Those of its clips in which the target is seen.

    Raises:
        DataError: If there are none, or a file is damaged.
    """
    folder = Path(source.folder)
    if source.boxes is not None:
        return Pool(clips=open_stills(folder, Path(source.boxes)), weight=source.weight)
    clips = _chosen(open_clips(folder), folder, only=source.only, without=source.without)
    seen = [clip for clip in clips if len(clip.seen)]
    if not seen:
        raise DataError(
            f"None of {len(clips)} clips in `{folder}` has a frame in which the target is seen.\n"
            "Hint: train on a part whose boxes are published."
        )
    return Pool(clips=seen, weight=source.weight)


def clips_to_judge(settings: DimpTaskSettings) -> Sequence[Clip]:
    """Open what a recipe tests on.

    Args:
        settings: Name the folder, which of its clips, how many, and how long.

    Returns:
        Clips with boxes to compare with.

    Raises:
        DataError: If there are none, or a file is damaged.
    """
    folder = Path(str(settings.test_folder))
    clips = _chosen(open_clips(folder), folder, only=settings.test_only, without=None)
    if settings.test_length is not None:
        clips = [clip.beginning(settings.test_length) for clip in clips]
    clips = with_truth(clips, str(folder))
    count = min(settings.test_clips or len(clips), len(clips))
    return [clips[number * len(clips) // count] for number in range(count)]


def _chosen(
    clips: Sequence[Clip], folder: Path, *, only: str | None, without: str | None
) -> Sequence[Clip]:
    names = {clip.name for clip in clips}
    if only is not None:
        listed = _listed(only)
        missing = [name for name in listed if name not in names]
        if missing:
            raise DataError(
                f"`{only}` lists {len(missing)} of {len(listed)} clips that are not in "
                f"`{folder}`, such as `{missing[0]}`.\n"
                "Why: scores of a part of a set would pass for those of the whole.\n"
                "Hint: get them, or take them out of the list."
            )
        clips = [clip for clip in clips if clip.name in set(listed)]
    if without is not None:
        listed = _listed(without)
        if not names & set(listed):
            raise DataError(
                f"None of the {len(listed)} clips that `{without}` lists is in `{folder}`.\n"
                "Why: it was to be left out, such as a test set; this may be another list.\n"
                f"Hint: leave out `without`, or list names such as `{next(iter(names))}`."
            )
        clips = [clip for clip in clips if clip.name not in set(listed)]
    return clips


def _listed(path: str) -> list[str]:
    return [words[0] for words in lines_in(Path(path))]
