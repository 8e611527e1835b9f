"""Clips give their frames in order, one at a time, and refuse what does not go together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from widthwise.data.clips import Clip, FrameFiles, frame_names, frame_number, frames_in
from widthwise.errors import DataError

WriteImage = Callable[..., Path]
BOX = [5.0, 6.0, 20.0, 10.0]


def clip(frames: int = 3, **changed: object) -> Clip:
    """A clip of black frames with one box, changed as given."""
    settings: dict[str, object] = {
        "name": "black",
        "images": [torch.zeros(3, 24, 32, dtype=torch.uint8)] * frames,
        "boxes": torch.tensor([BOX] * frames, dtype=torch.float64).reshape(-1, 4),
        "absent": torch.zeros(frames, dtype=torch.bool),
        **changed,
    }
    return Clip(**settings)  # type: ignore[arg-type]


def pixels(path: Path) -> Tensor:
    """What an image file holds."""
    from torchvision.transforms.v2.functional import pil_to_tensor

    return pil_to_tensor(Image.open(path).convert("RGB"))


def test_frames_are_read_in_the_order_of_their_numbers(
    tmp_path: Path, write_image: WriteImage
) -> None:
    """9 comes before 10, whatever the number of digits; other files are not frames."""
    for number in (10, 9, 100):
        write_image(tmp_path / f"{number}.png", seed=number)
    (tmp_path / "notes.txt").write_text("1")
    (tmp_path / "._9.png").write_bytes(b"left over by an archive")
    files = frames_in(tmp_path)
    assert list(files.names) == ["9.png", "10.png", "100.png"]
    assert torch.equal(files[1], pixels(tmp_path / "10.png"))
    assert len(files) == 3 and files.size == (64, 64)


def test_some_of_the_frames(tmp_path: Path, write_image: WriteImage) -> None:
    """From one number up to another, and not beyond the end."""
    paths = [write_image(tmp_path / f"{number}.png", seed=number) for number in range(4)]
    short = clip(4, images=frames_in(tmp_path))
    assert [torch.equal(frame, pixels(paths[2])) for frame in short.frames(2, 3)] == [True]
    assert len(list(short.frames(1))) == 3 and len(list(short.frames(3, 9))) == 1
    assert short.size == (64, 64) and len(short) == 4


def test_frames_are_decoded_when_they_are_asked_for(
    tmp_path: Path, write_image: WriteImage
) -> None:
    """A broken frame does not matter before it is reached; then the error names it."""
    write_image(tmp_path / "1.png")
    (tmp_path / "2.png").write_bytes(b"no image")
    frames = clip(2, images=frames_in(tmp_path)).frames()
    assert next(frames).dtype == torch.uint8
    with pytest.raises(DataError, match=r"2\.png` cannot be read"):
        next(frames)


def test_a_cut_off_frame_is_refused(tmp_path: Path, write_image: WriteImage) -> None:
    """Half a JPEG file is not half a frame."""
    path = write_image(tmp_path / "1.jpg")
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(DataError, match=r"1\.jpg` cannot be read: .*truncated"):
        frames_in(tmp_path)[0]


def test_grey_frames_become_rgb(tmp_path: Path, write_image: WriteImage) -> None:
    """All three channels are the grey values."""
    write_image(tmp_path / "1.png", mode="L")
    frame = frames_in(tmp_path)[0]
    assert frame.shape == (3, 64, 64) and torch.equal(frame[0], frame[2])


def test_frames_of_changing_size_are_refused(tmp_path: Path, write_image: WriteImage) -> None:
    """The error names the frame that differs, with both sizes."""
    write_image(tmp_path / "1.png", size=(48, 64))
    write_image(tmp_path / "2.png", size=(48, 60))
    with pytest.raises(DataError, match=r"2\.png` is 60 wide and 48 high.*64 wide and 48 high"):
        list(clip(2, images=frames_in(tmp_path)).frames())


def test_a_folder_without_frames(tmp_path: Path) -> None:
    """All places are named that were looked at; a missing folder has none."""
    with pytest.raises(DataError, match=r"no frames in `.*one` nor in `.*two`"):
        frames_in(tmp_path / "one", tmp_path / "two")
    assert frame_names(tmp_path) == frame_names(tmp_path / "nowhere") == ()


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"images": []}, "The clip `black` has no frames"),
        ({"boxes": torch.tensor([BOX] * 2).double()}, "has 2 boxes for 3 frames"),
        ({"boxes": torch.tensor([BOX] * 4).double()}, "has 4 boxes for 3 frames"),
        ({"absent": torch.zeros(1)}, "has 1 flags of absence for 3 frames"),
        ({"boxes": torch.tensor([BOX] * 3)}, "type torch.float32"),
        ({"boxes": torch.tensor(BOX).double()}, r"shape \[4\]"),
        ({"boxes": torch.tensor([[5, 5, 0, 9]] * 3).double()}, "box `5,5,0,9` for the first frame"),
        ({"boxes": torch.full((3, 4), float("nan")).double()}, "box `nan,nan,nan,nan` for the fir"),
    ],
)
def test_what_does_not_go_together_is_refused(changed: dict[str, object], problem: str) -> None:
    """The error names the clip, or the file of its boxes, and a way out."""
    with pytest.raises(DataError, match=problem) as caught:
        clip(**changed)  # type: ignore[arg-type]
    assert "Hint:" in str(caught.value) and "black" in str(caught.value)
    if "images" not in changed:
        with pytest.raises(DataError, match=r"`there/boxes\.txt` has"):
            clip(source=Path("there/boxes.txt"), **changed)  # type: ignore[arg-type]


def test_whether_results_can_be_judged() -> None:
    """Not where only the first box is known; a single frame is all there is."""
    boxes = torch.tensor([BOX] * 3).double()
    boxes[1:] = float("nan")
    assert not clip(boxes=boxes).has_truth
    assert clip().has_truth and clip(1).has_truth
    boxes[2] = torch.tensor(BOX)
    assert clip(boxes=boxes).has_truth


def test_number_of_a_frame() -> None:
    """The last one in its name."""
    assert frame_number("cam3_0012.jp2.jpg") == 2 and frame_number("cam3_0012.jp2") == 12
    assert frame_number("frame.jp2") is None
    found = FrameFiles(Path("a"), ("x.png", "8.png", "9.png", "10.png")).between(9, 10)
    assert found == FrameFiles(Path("a"), ("9.png", "10.png"))


def test_the_beginning_of_a_clip() -> None:
    """So many frames, boxes and flags of it stay, and nothing is read for it."""
    frames = [torch.full((3, 8, 8), number, dtype=torch.uint8) for number in range(5)]
    boxes = torch.tensor([[number, 1, 3, 3] for number in range(5)]).double()
    clip = Clip(name="five", images=frames, boxes=boxes, absent=torch.zeros(5).bool())
    start = clip.beginning(2)
    assert len(start) == len(start.boxes) == len(start.absent) == 2
    assert [int(frame[0, 0, 0]) for frame in start.frames()] == [0, 1]
    assert start.name == "five"
    assert clip.beginning(9) is clip
    with pytest.raises(IndexError):
        start.images[2]
