"""Every layout gives back the boxes, flags and frames that were put into a miniature of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2.functional import pil_to_tensor

from widthwise.data.clip_layouts import Conventions, Layout, open_clips
from widthwise.errors import DataError
from widthwise.tracking.measures import OTB

REAL = Path(os.environ.get("WIDTHWISE_DATA", "nowhere")) / "tracking"
NAN = float("nan")
BOXES = torch.tensor([[0, 0, 9, 8], [3.5, 2, 9, 8], [4, 3, 10, 8], [6, 4, 10.25, 9]]).double()
HIDDEN = (False, True, False, False)


def write_frames(folder: Path, names: Sequence[str], seed: int) -> None:
    """One frame of noise per name."""
    folder.mkdir(parents=True, exist_ok=True)
    drawing = np.random.default_rng(seed)
    for name in names:
        values = drawing.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(values).save(folder / name)


def numbered(pattern: str, first: int = 1, count: int = 4) -> list[str]:
    """Names of frames."""
    return [pattern.format(number) for number in range(first, first + count)]


def lines(boxes: Tensor, *, add: int, between: str = ",") -> str:
    """Boxes as text, with the number of the first pixel added; no newline at the end."""
    rows = [[x + add, y + add, w, h] for x, y, w, h in boxes.tolist()]
    return "\n".join(between.join(f"{number:g}" for number in row) for row in rows)


def otb(root: Path) -> None:
    """One of each separator, and a sequence with two targets."""
    for name, between in (("Car", ","), ("Dog", "\t"), ("Toy", "  ")):
        write_frames(root / name / "img", numbered("{:04}.png"), len(name))
        text = lines(BOXES, add=1, between=between)
        (root / name / "groundtruth_rect.txt").write_text(text)
    write_frames(root / "Jogging" / "img", numbered("{:04}.png"), 9)
    for target in "12":
        (root / "Jogging" / f"groundtruth_rect.{target}.txt").write_text(lines(BOXES, add=1))


def lasot(root: Path) -> None:
    """Two classes; where the target is absent, there is no box."""
    for name in ("cat-1", "zebra-10"):
        folder = root / name.split("-")[0] / name
        write_frames(folder / "img", numbered("{:08}.png"), len(name))
        text = lines(BOXES, add=1).splitlines()
        (folder / "groundtruth.txt").write_text("\n".join([text[0], "0,0,0,0", *text[2:]]) + "\n")
        hidden, outside = ("0,1,0,0", "0,0,0,0") if name == "cat-1" else ("0,0,0,0", "0,1,0,0\n")
        (folder / "full_occlusion.txt").write_text(hidden)
        (folder / "out_of_view.txt").write_text(outside)


def trackingnet(root: Path) -> None:
    """A part to train on, whose frames start at 0, and the test part with one box."""
    for part, video, text in (
        ("TRAIN_0", "a_0", lines(BOXES, add=0)),
        ("TEST", "b_1", lines(BOXES[:1], add=0)),
    ):
        write_frames(root / part / "frames" / video, numbered("{}.png", first=0), len(part))
        (root / part / "anno").mkdir()
        (root / part / "anno" / f"{video}.txt").write_text(text)


def got10k(root: Path) -> None:
    """A sequence with labels and one to test with."""
    folder = root / "val" / "GOT-10k_Val_000001"
    write_frames(folder, numbered("{:08}.png"), 1)
    (folder / "groundtruth.txt").write_text(lines(BOXES, add=1) + "\n")
    (folder / "cover.label").write_text("8\n0\n1\n8\n")
    (folder / "absence.label").write_text("0\n0\n0\n0\n")
    write_frames(root / "test" / "GOT-10k_Test_000001", numbered("{:08}.png"), 2)
    one = root / "test" / "GOT-10k_Test_000001" / "groundtruth.txt"
    one.write_text(lines(BOXES[:1], add=1))
    (root / "val" / "list.txt").write_text("GOT-10k_Val_000001\n")


def uav123(root: Path) -> None:
    """A sequence of its own, and the second of those that share a folder; NaN out of sight."""
    frames, boxes = root / "data_seq" / "UAV123", root / "anno" / "UAV123"
    write_frames(frames / "bike1", numbered("{:06}.png"), 1)
    write_frames(frames / "truck4", numbered("{:06}.png", first=574, count=3), 2)
    write_frames(frames / "truck4", numbered("{:06}.png", first=577), 3)
    boxes.mkdir(parents=True)
    text = lines(BOXES, add=1).splitlines()
    for name in ("bike1", "truck4_2"):
        (boxes / f"{name}.txt").write_text("\n".join([text[0], "NaN,NaN,NaN,NaN", *text[2:]]))


def uav20l(root: Path) -> None:
    """Whole folders, though another set takes parts of them."""
    uav123(root)
    long = root / "anno" / "UAV20L"
    long.mkdir()
    (root / "anno" / "UAV123" / "bike1.txt").rename(long / "bike1.txt")
    (root / "anno" / "UAV123" / "truck4_2.txt").unlink()
    (root / "anno" / "UAV123").rmdir()


def vot(root: Path) -> None:
    """Rectangles with `color`, polygons without, and one with two targets."""
    write_frames(root / "ants" / "color", numbered("{:08}.png"), 1)
    (root / "ants" / "sequence").write_text("name=ants\nfps=30\n")
    (root / "ants" / "groundtruth.txt").write_text(lines(BOXES, add=0))
    write_frames(root / "bag", numbered("{:08}.png"), 2)
    corners = [f"{x},{y + h},{x},{y},{x + w},{y},{x + w},{y + h}" for x, y, w, h in BOXES.tolist()]
    (root / "bag" / "groundtruth.txt").write_text("\n".join(corners))
    write_frames(root / "two" / "color", numbered("{:08}.png"), 3)
    for target in "ab":
        (root / "two" / f"groundtruth_{target}.txt").write_text(lines(BOXES, add=0))


def frames(root: Path) -> None:
    """Frames beside their boxes, and in a folder of their own."""
    write_frames(root / "mine", numbered("shot{}.png", first=8), 1)
    write_frames(root / "other" / "img", numbered("{}.png", first=8), 2)
    (root / "mine" / "groundtruth.txt").write_text(lines(BOXES, add=0))
    (root / "other" / "groundtruth_by_hand.txt").write_text(lines(BOXES, add=0))


WRITERS: dict[Layout, tuple[Callable[[Path], None], dict[str, str]]] = {
    Layout.OTB: (
        otb,
        {name: "0001.png" for name in ("Car", "Dog", "Jogging-1", "Jogging-2", "Toy")},
    ),
    Layout.LASOT: (lasot, {name: "00000001.png" for name in ("cat-1", "zebra-10")}),
    Layout.TRACKINGNET: (trackingnet, {"b_1": "0.png", "a_0": "0.png"}),
    Layout.GOT10K: (
        got10k,
        {name: "00000001.png" for name in ("GOT-10k_Test_000001", "GOT-10k_Val_000001")},
    ),
    Layout.UAV123: (uav123, {"bike1": "000001.png", "truck4_2": "000577.png"}),
    Layout.UAV20L: (uav20l, {"bike1": "000001.png"}),
    Layout.VOT: (vot, {name: "00000001.png" for name in ("ants", "bag", "two-a", "two-b")}),
    Layout.FRAMES: (frames, {"mine": "shot8.png", "other": "8.png"}),
}
"""Writes each layout; the names of its clips with those of their first frames."""
WITHHELD = ("b_1", "GOT-10k_Test_000001")
"""Those of which only the first box is published."""


@pytest.mark.parametrize("asked", ["by name", "auto"])
@pytest.mark.parametrize("layout", WRITERS)
def test_a_miniature_is_read_back(layout: Layout, asked: str, tmp_path: Path) -> None:
    """Names, boxes counted from 0, flags, and the pixels of the first and last frame."""
    write, names = WRITERS[layout]
    write(tmp_path)
    clips = open_clips(tmp_path, layout if asked == "by name" else Layout.AUTO)
    assert [clip.name for clip in clips] == list(names)
    for clip in clips:
        unknown = [False] * 4
        if layout in (Layout.LASOT, Layout.UAV123, Layout.UAV20L):
            unknown = list(HIDDEN)
        if clip.name in WITHHELD:
            unknown = [False, True, True, True]
        assert clip.boxes.isnan().all(dim=1).tolist() == unknown
        assert torch.equal(clip.boxes[~torch.tensor(unknown)], BOXES[~torch.tensor(unknown)])
        flagged = layout in (Layout.LASOT, Layout.UAV123, Layout.UAV20L) or "Val" in clip.name
        assert clip.absent.tolist() == (list(HIDDEN) if flagged else [False] * 4)
        assert clip.has_truth == (clip.name not in WITHHELD)
        files = clip.images.files  # type: ignore[attr-defined]
        assert files[0].name == names[clip.name] and len(clip) == 4
        for number in (0, -1):
            assert torch.equal(clip.images[number], pil_to_tensor(Image.open(files[number])))


@pytest.mark.parametrize("layout", [Layout.OTB, Layout.LASOT, Layout.GOT10K, Layout.VOT])
def test_one_sequence_is_a_folder_too(layout: Layout, tmp_path: Path) -> None:
    """The folder of a single sequence can be opened."""
    write, names = WRITERS[layout]
    write(tmp_path)
    name = next(iter(names))
    folder = next(path for path in tmp_path.rglob(name) if path.is_dir())
    for asked in (layout, Layout.AUTO):
        (clip,) = open_clips(folder, asked)
        assert clip.name == name and len(clip) == 4


def test_layouts_lie_side_by_side(tmp_path: Path) -> None:
    """Each sequence is recognised by itself."""
    otb(tmp_path / "b")
    frames(tmp_path / "a")
    assert len(open_clips(tmp_path)) == 7
    with pytest.raises(DataError, match=r"frames in `.*mine` have no boxes") as caught:
        open_clips(tmp_path, Layout.OTB)
    assert "groundtruth_rect.txt" in str(caught.value)


def test_the_first_pixel_can_be_given(tmp_path: Path) -> None:
    """A copy of OTB whose boxes count from 0 is read as such."""
    otb(tmp_path)
    shifted = open_clips(tmp_path, conventions=Conventions(first_pixel=0))[0]
    assert torch.equal(shifted.boxes - BOXES, torch.tensor([1, 1, 0, 0]).expand(4, 4).double())


def test_nothing_found_says_what_was_looked_for(tmp_path: Path) -> None:
    """Every layout is listed, or the one that was asked for."""
    with pytest.raises(DataError, match="No clips were found") as caught:
        open_clips(tmp_path)
    assert all(f"    {layout}" in str(caught.value) for layout in WRITERS)
    with pytest.raises(DataError, match="which is not a folder") as caught:
        open_clips(tmp_path / "nowhere", Layout.VOT)
    assert "    otb" not in str(caught.value) and "    vot" in str(caught.value)


def test_frames_without_boxes_are_not_passed_over(tmp_path: Path) -> None:
    """One sequence of a set that lost its boxes is an error, not a smaller set."""
    otb(tmp_path)
    (tmp_path / "Dog" / "groundtruth_rect.txt").unlink()
    with pytest.raises(DataError, match=r"frames in `.*Dog.img` have no boxes"):
        open_clips(tmp_path)


def test_sequences_that_are_listed_must_be_there(tmp_path: Path) -> None:
    """A set of which a part is missing does not pass for the whole."""
    got10k(tmp_path)
    (tmp_path / "val" / "list.txt").write_text("GOT-10k_Val_000001\nGOT-10k_Val_000002\n")
    with pytest.raises(DataError, match=r"lists 1 of 2 sequences.*`GOT-10k_Val_000002`"):
        open_clips(tmp_path / "val")


def test_two_clips_of_one_name_are_refused(tmp_path: Path) -> None:
    """Results are kept by name."""
    otb(tmp_path / "one")
    otb(tmp_path / "two")
    with pytest.raises(DataError, match="several clips that are called `Car`"):
        open_clips(tmp_path)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (lines(BOXES[:3], add=1), "has 3 boxes for 4 frames"),
        (lines(BOXES, add=1) + "\n1,1,5,5", "has 5 boxes for 4 frames"),
        ("", "has 0 boxes for 4 frames"),
        ("1,1,5,5\n1,1,5\n", "line 2 has 3 numbers, expected 4"),
        ("1,1,5,5\nx,y,w,h\n", "line 2 is `x,y,w,h`, expected numbers"),
        (lines(BOXES, add=1).replace("1,1,9,8", "1,1,0,8"), "first frame"),
    ],
)
def test_damaged_boxes_are_refused(text: str, problem: str, tmp_path: Path) -> None:
    """The error names the file, and the line where there is one."""
    otb(tmp_path)
    (tmp_path / "Car" / "groundtruth_rect.txt").write_text(text)
    with pytest.raises(DataError, match=problem) as caught:
        open_clips(tmp_path)
    assert str(tmp_path / "Car" / "groundtruth_rect.txt") in str(caught.value)


def test_blank_lines_and_marks_are_no_boxes(tmp_path: Path) -> None:
    """Empty lines, Windows line ends, a byte order mark and a comma at the end are ignored."""
    otb(tmp_path)
    text = "\ufeff" + lines(BOXES, add=1).replace("\n", ",\r\n\r\n") + "\r\n\r\n"
    (tmp_path / "Car" / "groundtruth_rect.txt").write_bytes(text.encode())
    assert torch.equal(open_clips(tmp_path)[0].boxes, BOXES)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """The error says so, and names it."""
    otb(tmp_path)
    (tmp_path / "Car" / "groundtruth_rect.txt").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(DataError, match=r"groundtruth_rect.txt` is damaged: expected text"):
        open_clips(tmp_path)


def test_an_empty_folder_of_frames_is_refused(tmp_path: Path) -> None:
    """The error names the folder."""
    otb(tmp_path)
    for path in (tmp_path / "Car" / "img").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"no frames in `.*Car.img`"):
        open_clips(tmp_path)


@pytest.mark.parametrize("name", ["full_occlusion.txt", "out_of_view.txt"])
def test_flags_must_fit(name: str, tmp_path: Path) -> None:
    """One flag per frame in both files of LaSOT; a missing file is not taken for no flags."""
    lasot(tmp_path)
    path = tmp_path / "cat" / "cat-1" / name
    path.write_text("0,0,0")
    with pytest.raises(DataError, match=rf"{name}` is damaged: it has 3 flags for 4 frames"):
        open_clips(tmp_path)
    path.unlink()
    with pytest.raises(DataError, match=rf"{name}` cannot be read"):
        open_clips(tmp_path)


def test_videos_of_trackingnet_must_be_complete(tmp_path: Path) -> None:
    """Boxes without frames and frames without boxes are named together."""
    trackingnet(tmp_path)
    (tmp_path / "TRAIN_0" / "anno" / "a_0.txt").rename(tmp_path / "TRAIN_0" / "anno" / "c_0.txt")
    with pytest.raises(DataError, match="2 videos are not complete") as caught:
        open_clips(tmp_path)
    assert "`a_0` has frames and no boxes" in str(caught.value)
    assert "`c_0` has boxes and no frames" in str(caught.value)


def test_a_plain_folder_has_one_target(tmp_path: Path) -> None:
    """Which of two files of boxes is meant, nobody knows."""
    frames(tmp_path)
    (tmp_path / "mine" / "groundtruth_2.txt").write_text(lines(BOXES, add=0))
    with pytest.raises(DataError, match="has 2 files of boxes"):
        open_clips(tmp_path)


def test_frames_of_otb_beyond_its_boxes_are_left_out(tmp_path: Path) -> None:
    """Football1 has boxes for its frames 1 to 74, in folders with and without the others."""
    boxes = lines(BOXES[:1].repeat(74, 1), add=1)
    for name, count in (("a/Football1", 78), ("b/Football1", 74)):
        write_frames(tmp_path / name / "img", numbered("{:04}.png", count=count), 1)
        (tmp_path / name / "groundtruth_rect.txt").write_text(boxes)
        (clip,) = open_clips(tmp_path / name)
        assert clip.images.files[-1].name == "0074.png" and len(clip) == 74  # type: ignore
    # Other sequences have no such frames.
    (tmp_path / "a" / "Football1").rename(tmp_path / "a" / "Crossing")
    with pytest.raises(DataError, match="has 74 boxes for 78 frames"):
        open_clips(tmp_path / "a")


@pytest.mark.skipif(not REAL.is_dir(), reason="WIDTHWISE_DATA names no folder with tracking clips")
def test_real_clips_have_the_known_floor() -> None:
    """AUC in percent of the box that never moves, measured by another program."""
    floor = {"Couple": 4.3, "Crossing": 4.0, "Skiing": 2.3, "juice_ccbysa": 6.6, "shirt_cc0": 39.1}
    for clip in open_clips(REAL):
        still = clip.boxes[:1].repeat(len(clip), 1)
        auc = OTB.judge(still, clip.boxes).scores.auc
        assert 100 * auc == pytest.approx(floor.pop(clip.name), abs=0.06)
        assert clip.images[len(clip) - 1].shape == (3, *clip.size)
    assert not floor
