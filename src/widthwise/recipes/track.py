"""Use the tracker that a run has left behind on videos of one's own."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

import widthwise as ww
from widthwise.data.clip_layouts import open_clips
from widthwise.data.clips import Clip
from widthwise.data.video import Video, open_video
from widthwise.data.video_writing import Picture, best_film, write_film
from widthwise.errors import ConfigError, DataError
from widthwise.models import resolve
from widthwise.recipes.config import SearchRecipe
from widthwise.recipes.evaluate import finished_recipe
from widthwise.runs.results import read_results
from widthwise.runs.writing import write_file, write_stream
from widthwise.tasks.following import Follows, judge
from widthwise.tracking.boxes import check_box
from widthwise.tracking.drawing import marked
from widthwise.tracking.measures import Benchmark, Scores
from widthwise.tracking.running import speed_of, steps_of
from widthwise.tracking.sheet import Sheet

FOUND = "found"
"""Arm of a run with the found widths."""
Progress = Callable[[Iterable[Tensor], int | None], Iterable[Tensor]]
"""Shows how far an iteration is, of so many if that is known."""


@dataclass(frozen=True, kw_only=True)
class TrackedVideo:
    """What a tracker made of a video, and where that was written."""

    boxes: Tensor
    """x, y, width and height per frame in pixels, from 0; float64, shape ``[n, 4]``."""
    scores: tuple[float, ...]
    """How sure the tracker was of each, in ``[0, 1]``; NaN for the first frame."""
    frames_per_second: float
    """Of the tracker: without reading, drawing and writing. 0 for a video of one frame."""
    size: tuple[int, int]
    """Height and width of the frames."""
    table: Path
    """Boxes and scores as CSV."""
    sheet: Path
    """Some frames with their boxes."""
    film: Path
    """All frames with their boxes."""
    measured: Scores | None
    """Against the true boxes; None if there are none, or another box was given."""
    rules: str
    """By whose rules."""


def track_video(
    folder: Path,
    video: Path,
    *,
    box: Sequence[float] | None = None,
    out: Path | None = None,
    arm: str = FOUND,
    settings: Sequence[str] = (),
    progress: Progress = lambda frames, _: frames,
) -> TrackedVideo:
    """Follow a target through a video.

    Args:
        folder: A finished run of a task that follows, `tracking` or `dimp`.
        video: A folder of frames, an animation or a video file.
        box: x, y, width and height of the target in the first frame; that of the annotations if not
            given, and only then are scores taken.
        out: Folder for the results; ``tracked/NAME`` in the run folder if not given. It must be
            empty, and is made if it is not there.
        arm: Which network of the run: the found one, or another that was trained beside it, such
            as `full` or `uniform`.
        settings: What to change in the recipe, as on the command line.
        progress: Shows how far it is.

    Returns:
        Boxes, and the files that were written: each is whole, or is not there.

    Raises:
        RunError: If there is no finished run in the folder, or the results cannot be written.
        ConfigError: If the run is of another task or has no such arm, the box is missing or does
            not lie in the frame, or there is something in the folder for the results.
        DataError: If the video cannot be read, or its frames have several sizes.
    """
    recipe = finished_recipe(folder, settings)
    task = recipe.task.open()
    if not isinstance(task, Follows):
        raise ConfigError(
            f"The run in `{folder}` is of the task `{task.name}`, which follows nothing.\n"
            "Hint: use a run of `tracking`; `widthwise search tracking_demo` makes one in minutes."
        )
    clip = _annotated(video) if box is None else None
    frames = open_video(video) if clip is None else _video_of(clip)
    first = next(iter(frames), None)
    if first is None:
        raise DataError(f"`{video}` has no frames.\nHint: play it to find out what is in it.")
    size = first.shape[1], first.shape[2]
    start = check_box(_first_box(box, clip, video), size)
    place = folder / "tracked" / frames.name if out is None else out
    _check_place(place, video)

    if recipe.threads is not None:
        # Layers of a tracker are small: more threads than it was trained with mostly wait.
        torch.set_num_threads(recipe.threads)
    device = torch.device(recipe.hardware.device)
    network = _network(folder, arm, recipe).eval().to(device)
    tracker = task.tracker(network)
    boxes: list[Tensor] = []
    scores: list[float] = []
    seconds: list[float] = []
    sheet = Sheet()

    def pictures() -> Iterator[Picture]:
        read = progress(frames, frames.length)
        for number, step in enumerate(steps_of(tracker, read, start)):
            boxes.append(step.box)
            scores.append(tracker.score)
            seconds.append(step.seconds)
            truth = None if clip is None else clip.boxes[number]
            picture = marked(step.frame, truth=truth, found=step.box)
            sheet.add(number + 1, picture)
            yield picture

    kind = best_film()
    film, table, overview = (place / name for name in (f"tracked{kind}", "boxes.csv", "sheet.png"))
    rate = frames.frames_per_second
    write_stream(film, lambda file: write_film(file, pictures(), kind, rate=rate))
    write_stream(overview, lambda file: sheet.image().save(file, format="PNG"))
    write_file(table, _csv(boxes, scores))
    found = torch.stack(boxes)
    return TrackedVideo(
        boxes=found,
        scores=tuple(scores),
        frames_per_second=speed_of(seconds),
        size=size,
        table=table,
        sheet=overview,
        film=film,
        measured=_measured(found, clip, task.benchmark),
        rules=task.benchmark.name,
    )


def _network(folder: Path, arm: str, recipe: SearchRecipe) -> nn.Module:
    if arm == FOUND:
        return resolve(str(folder)).build()
    results = read_results(folder)
    trained = [FOUND] if results is None else [each.arm for each in results.arms]
    if arm not in trained:
        raise ConfigError(
            f"The run in `{folder}` has no arm `{arm}`.\n"
            f"Hint: it has {', '.join(f'`{each}`' for each in trained)}."
        )
    full = resolve(recipe.model.name)
    return ww.load(folder / "stages" / arm, lambda: full.build(**recipe.model.options))


def _annotated(video: Path) -> Clip | None:
    """The clip in a folder that has boxes beside its frames."""
    if not any(video.glob("groundtruth*.txt")):
        return None
    clips = open_clips(video)
    if len(clips) > 1:
        raise ConfigError(
            f"`{video}` has boxes of {len(clips)} targets: "
            f"{', '.join(f'`{clip.name}`' for clip in clips)}.\n"
            "Hint: say which to follow, with `--box` and the first line of its file (less 1 where "
            "that counts the first pixel as 1)."
        )
    return clips[0]


def _video_of(clip: Clip) -> Video:
    return Video(name=clip.name, length=len(clip), frames_per_second=None, read=clip.frames)


def _first_box(box: Sequence[float] | None, clip: Clip | None, video: Path) -> Sequence[float]:
    if box is not None:
        return box
    if clip is None:
        raise ConfigError(
            f"Nothing says what to follow in `{video}`.\n"
            "Why: a tracker learns what to follow from a box in the first frame.\n"
            "Hint: give `--box x,y,width,height` in pixels, or a folder with a file "
            "`groundtruth.txt`."
        )
    return [float(number) for number in clip.boxes[0]]


def _check_place(place: Path, video: Path) -> None:
    if place.resolve() == video.resolve():
        raise ConfigError(
            f"Results would be written into `{video}`, among the frames.\n"
            "Why: they would be taken for frames the next time.\n"
            "Hint: name another folder with `--out`."
        )
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        state = "is not empty" if place.is_dir() else "is a file"
        raise ConfigError(
            f"`{place}` {state}.\n"
            "Why: results of two videos would be mixed up, or lost.\n"
            "Hint: name another folder with `--out`, or delete it."
        )


def _csv(boxes: Sequence[Tensor], scores: Sequence[float]) -> str:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["frame", "x", "y", "width", "height", "score"])
    for number, (box, score) in enumerate(zip(boxes, scores, strict=True), 1):
        written = "" if score != score else f"{score:.4f}"
        rows.writerow([number, *(f"{side:.3f}" for side in box.tolist()), written])
    return text.getvalue()


def _measured(boxes: Tensor, clip: Clip | None, benchmark: Benchmark) -> Scores | None:
    if clip is None or not clip.has_truth:
        return None
    judged = judge(benchmark, boxes, clip)
    return judged.scores if judged.frames else None
