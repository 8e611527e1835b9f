"""A run's network follows a target through a video of one's own."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import Tensor

import widthwise as ww
from run_folders import make_run
from tracker_runs import make_tracker_run, moving_square
from widthwise.cli import main
from widthwise.data.clip_layouts import Layout, write_clip
from widthwise.data.video import open_video
from widthwise.errors import ConfigError, DataError, RunError
from widthwise.models import resolve
from widthwise.recipes.config import plain
from widthwise.recipes.loader import load_recipe
from widthwise.recipes.track import track_video
from widthwise.tracking.drawing import FOUND
from widthwise.tracking.measures import LASOT, OTB
from widthwise.tracking.running import run_tracker
from widthwise.tracking.siamese import Siamese

BOX = (20.0, 20.0, 24.0, 24.0)
STEPS = 5


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the task `tracking`."""
    return make_tracker_run(tmp_path_factory.mktemp("track") / "run")


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """A folder of frames without boxes."""
    place = tmp_path / "frames"
    place.mkdir()
    for number, frame in enumerate(moving_square(STEPS)[0], 1):
        save(place / f"{number}.png", frame)
    return place


def save(path: Path, frame: Tensor) -> None:
    """Write a frame."""
    Image.fromarray(frame.permute(1, 2, 0).numpy()).save(path)


def files_in(folder: Path) -> list[Path]:
    """What is in a folder, hidden files too; nothing if it is not there."""
    return list(folder.iterdir()) if folder.is_dir() else []


def test_boxes_are_what_the_tracker_finds(
    run: Path, frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the table, on the sheet and in the video; paths and speed are printed."""
    out = tmp_path / "out"
    assert main(["track", str(run), str(frames), "--box", "20,20,24,24", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "5 frames of 120 x 90 pixels" in printed and "per second" in printed
    assert "AUC" not in printed
    network: Any = resolve(str(run)).build().eval()
    expected = run_tracker(Siamese(network), open_video(frames), torch.tensor(BOX)).boxes
    with (out / "boxes.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["frame"] for row in rows] == ["1", "2", "3", "4", "5"]
    found = [[float(row[key]) for key in ("x", "y", "width", "height")] for row in rows]
    torch.testing.assert_close(torch.tensor(found).double(), expected, atol=1e-3, rtol=0)
    scores = [row["score"] for row in rows]
    assert scores[0] == "" and all(0 <= float(score) <= 1 for score in scores[1:])
    sheet = np.asarray(Image.open(out / "sheet.png"))
    assert (sheet == FOUND).all(2).sum() > 5 * 2 * 24
    (film,) = out.glob("tracked.*")
    assert all(str(path) in printed for path in (out / "boxes.csv", out / "sheet.png", film))
    assert len(list(open_video(film))) == STEPS


@pytest.mark.parametrize("layout", [Layout.OTB, Layout.LASOT])
def test_true_boxes_beside_the_frames_are_used(
    layout: Layout, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first says what to follow, the others give scores, by the rules that are asked for."""
    images, boxes = moving_square(STEPS)
    absent = torch.tensor([False, False, True, False, False])
    flags = absent if layout is Layout.LASOT else None
    write_clip(tmp_path / "clip", images, boxes, flags, layout=layout)
    done = track_video(
        run, tmp_path / "clip", out=tmp_path / "a", settings=["--task.rules", "lasot"]
    )
    judged = LASOT.judge(done.boxes, boxes, absent=flags, size=(90, 120))
    assert done.measured is not None and done.measured.auc == judged.scores.auc
    assert torch.equal(done.boxes[0], boxes[0])
    assert main(["track", str(run), str(tmp_path / "clip"), "--out", str(tmp_path / "b")]) == 0
    printed = capsys.readouterr().out
    scores = OTB.judge(done.boxes, boxes, size=(90, 120)).scores
    assert "rules of otb" in printed and f"{100 * scores.auc:.2f}" in printed


def test_another_box_is_followed_and_not_judged(run: Path, tmp_path: Path) -> None:
    """The true boxes are those of another target."""
    write_clip(tmp_path / "clip", *moving_square(STEPS))
    done = track_video(run, tmp_path / "clip", box=(60, 40, 20, 20), out=tmp_path / "out")
    assert done.measured is None
    assert done.boxes[0].tolist() == [60, 40, 20, 20]


def test_several_targets_have_to_be_told_apart(run: Path, tmp_path: Path) -> None:
    """The error names them, and the way to choose."""
    write_clip(tmp_path / "two", *moving_square(STEPS), layout=Layout.OTB)
    for number in (1, 2):
        path = tmp_path / "two" / f"groundtruth_rect.{number}.txt"
        path.write_text((tmp_path / "two" / "groundtruth_rect.txt").read_text())
    (tmp_path / "two" / "groundtruth_rect.txt").unlink()
    with pytest.raises(ConfigError, match=r"`two-1`, `two-2`(?s:.*)--box"):
        track_video(run, tmp_path / "two")


def test_without_a_box_nothing_is_followed(run: Path, frames: Path) -> None:
    """The error says what is missing, and how to give it."""
    with pytest.raises(ConfigError, match=r"Nothing says what to follow(?s:.*)--box x,y"):
        track_video(run, frames)


@pytest.mark.parametrize(
    ("box", "said"),
    [
        ("200,10,20,20", "lies outside of the frame"),
        ("10,10,0,20", "has no area"),
        ("10,10,20", "has 3 numbers"),
        ("nan,10,20,20", "not finite"),
    ],
)
def test_impossible_boxes_are_refused(
    box: str, said: str, run: Path, frames: Path, tmp_path: Path, capsys: Any
) -> None:
    """In one message, before anything is written."""
    out = tmp_path / "out"
    assert main(["track", str(run), str(frames), f"--box={box}", "--out", str(out)]) == 2
    assert said in capsys.readouterr().err
    assert not out.exists()


def test_a_box_may_start_outside(run: Path, frames: Path, tmp_path: Path) -> None:
    """Published sets have such boxes; a part of it is in the frame."""
    done = track_video(run, frames, box=(-5, 70, 30, 40), out=tmp_path / "out")
    assert done.boxes[0].tolist() == [-5, 70, 30, 40] and bool(done.boxes.isfinite().all())


def test_a_box_is_numbers(run: Path, frames: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A word in it is an error of the command."""
    with pytest.raises(SystemExit):
        main(["track", str(run), str(frames), "--box", "left,10,20,20"])
    assert "expected numbers such as" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["size", "content"])
def test_a_bad_frame_leaves_nothing_behind(
    damage: str, run: Path, frames: Path, tmp_path: Path
) -> None:
    """A frame of another size, or one that cannot be read, is named; no half a video stays."""
    if damage == "size":
        save(frames / "4.png", torch.zeros(3, 50, 70, dtype=torch.uint8))
    else:
        (frames / "4.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"4\.png"):
        track_video(run, frames, box=BOX, out=tmp_path / "out")
    assert files_in(tmp_path / "out") == []


def test_a_video_of_one_frame_has_one_box(
    run: Path, frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is the given one, and no speed is printed."""
    command = ["track", str(run), str(frames / "1.png"), "--box", "20,20,24,24"]
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    assert "there is nothing to follow after the first" in capsys.readouterr().out
    lines = (tmp_path / "out" / "boxes.csv").read_text().splitlines()
    assert lines[1:] == ["1,20.000,20.000,24.000,24.000,"]
    assert len(files_in(tmp_path / "out")) == 3


def test_results_do_not_go_among_others(run: Path, frames: Path, tmp_path: Path) -> None:
    """Not among the frames, not into a folder with files, not where a file is."""
    before = sorted(frames.iterdir())
    with pytest.raises(ConfigError, match="among the frames"):
        track_video(run, frames, box=BOX, out=frames)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    with pytest.raises(ConfigError, match=r"`.*full` is not empty(?s:.*)--out"):
        track_video(run, frames, box=BOX, out=tmp_path / "full")
    with pytest.raises(ConfigError, match="is a file"):
        track_video(run, frames, box=BOX, out=tmp_path / "full" / "mine.txt")
    assert sorted(frames.iterdir()) == before
    assert len(files_in(tmp_path / "full")) == 1


def test_results_lie_in_the_run_by_default(frames: Path, tmp_path: Path) -> None:
    """Under the name of the video."""
    run = make_tracker_run(tmp_path / "run")
    done = track_video(run, frames, box=BOX)
    assert done.table == run / "tracked" / "frames" / "boxes.csv" and done.table.is_file()


def test_another_network_of_the_run_follows(frames: Path, tmp_path: Path) -> None:
    """The arm that is named, as it was trained; of others the error lists what there is."""
    run = make_tracker_run(tmp_path / "run")
    options = yaml.safe_load((run / "config.yaml").read_text())["model"]["options"]
    torch.manual_seed(1)
    network: Any = resolve("widthwise/siamese").build(**options).eval()
    graph = ww.trace(network, (torch.rand(1, 3, 64, 64), torch.rand(1, 3, 128, 128)))
    plan = ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(1.0))
    ww.save(network, plan, run / "stages" / "full")
    results = make_run(tmp_path / "other", arms=["full"]) / "results.json"
    (run / "results.json").write_bytes(results.read_bytes())
    found = track_video(run, frames, box=BOX, out=tmp_path / "a").boxes
    full = track_video(run, frames, box=BOX, out=tmp_path / "b", arm="full").boxes
    expected = run_tracker(Siamese(network), open_video(frames), torch.tensor(BOX)).boxes
    torch.testing.assert_close(full, expected, atol=1e-3, rtol=0)
    assert not torch.equal(full, found)
    with pytest.raises(ConfigError, match=r"no arm `uniform`(?s:.*)`found`, `full`"):
        track_video(run, frames, box=BOX, out=tmp_path / "c", arm="uniform")
    assert not (tmp_path / "c").exists()


def test_other_folders_are_refused(frames: Path, tmp_path: Path) -> None:
    """A folder without a finished run, and a run of another task."""
    with pytest.raises(RunError, match="no finished run"):
        track_video(tmp_path, frames, box=BOX)
    other = make_run(tmp_path / "other")
    (other / "plan.json").touch()
    (other / "config.yaml").write_text(yaml.safe_dump(plain(load_recipe("digits", []))))
    with pytest.raises(ConfigError, match=r"`classification`, which follows(?s:.*)tracking_demo"):
        track_video(other, frames, box=BOX)


def test_what_is_no_video_is_refused(run: Path, tmp_path: Path) -> None:
    """A path where nothing is, and a folder without frames."""
    with pytest.raises(DataError, match="There is no video"):
        track_video(run, tmp_path / "absent.mp4", box=BOX)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="There are no frames"):
        track_video(run, tmp_path / "empty", box=BOX)


def test_interrupted_half_way_nothing_stays(
    run: Path, frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C ends the command with 130; neither a part of a file nor a hidden one is left."""
    calls = []

    def follow(self: Siamese, frame: Tensor) -> Tensor:
        calls.append(frame)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return torch.tensor(BOX)

    monkeypatch.setattr(Siamese, "follow", follow)
    out = tmp_path / "out"
    assert main(["track", str(run), str(frames), "--box", "20,20,24,24", "--out", str(out)]) == 130
    assert len(calls) == 3 and files_in(out) == []


def test_without_av_the_video_is_a_gif(
    run: Path,
    frames: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It has all frames, and a note says how to get MP4."""
    usual = importlib.util.find_spec

    def find(name: str, *rest: Any) -> Any:
        return None if name == "av" else usual(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", find)
    out = tmp_path / "out"
    assert main(["track", str(run), str(frames), "--box", "20,20,24,24", "--out", str(out)]) == 0
    assert "pip install 'widthwise[video]'" in capsys.readouterr().out
    assert len(list(open_video(out / "tracked.gif"))) == STEPS


def test_threads_are_those_of_the_recipe(
    run: Path, frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the search, and another number can be asked for."""
    used: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", used.append)
    track_video(run, frames, box=BOX, out=tmp_path / "a")
    track_video(run, frames, box=BOX, out=tmp_path / "b", settings=["--threads", "3"])
    assert used == [1, 3]
