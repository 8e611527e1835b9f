"""Cut a YOLO to half, heal it, train it in its own trainer, export it and open it again.

Needs `pip install 'widthwise[ultralytics,export]'`. The images are drawn here: squares and discs.
"""

import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

os.environ.setdefault("YOLO_AUTOINSTALL", "false")  # ultralytics would install what it misses
from ultralytics import YOLO

import widthwise as ww
from widthwise.ultralytics import trainer, with_network

SIZE = 64
SETTINGS = {"data": "shapes/data.yaml", "imgsz": SIZE, "device": "cpu", "plots": False}
TRAINING = SETTINGS | {"batch": 16, "nbs": 16, "mosaic": 0.0, "project": Path("runs").absolute()}


def draw(folder: Path, count: int, numbers: np.random.Generator) -> None:
    """Write images with two shapes each, and labels as ultralytics reads them."""
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    for number in range(count):
        image = Image.new("RGB", (SIZE, SIZE), (60, 60, 60))
        pen, lines = ImageDraw.Draw(image), []
        for left in (0, SIZE // 2):
            shape, radius = int(numbers.integers(2)), int(numbers.integers(9, 15))
            x, y = left + SIZE // 4, int(numbers.integers(radius, SIZE - radius))
            box = (x - radius, y - radius, x + radius, y + radius)
            if shape:
                pen.ellipse(box, fill=(230, 60, 60))
            else:
                pen.rectangle(box, fill=(60, 90, 230))
            sizes = (x, y, 2 * radius, 2 * radius)
            lines.append(" ".join([str(shape), *(str(size / SIZE) for size in sizes)]))
        image.save(folder / "images" / f"{number:03}.png")
        (folder / "labels" / f"{number:03}.txt").write_text("\n".join(lines))


def precision(yolo: YOLO) -> float:
    """Mean average precision, over overlaps of 50 to 95 %, on the images of `val`."""
    return float(yolo.val(**SETTINGS, rect=False, verbose=False).box.map)


numbers = np.random.default_rng(0)
draw(Path("shapes/train"), 64, numbers)
draw(Path("shapes/val"), 24, numbers)
Path("shapes/data.yaml").write_text(
    f"path: {Path('shapes').absolute()}\ntrain: train/images\nval: val/images\n"
    "names: [square, disc]\n"
)
images = torch.stack([
    torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1) / 255
    for path in sorted(Path("shapes/train/images").glob("*.png"))
])  # fmt: skip

# The full network, on your data. From weights, it would be YOLO("yolov8n.pt").
yolo = YOLO("yolov8n.yaml")
yolo.train(**TRAINING, epochs=20, name="full", optimizer="AdamW", lr0=0.002, val=False)
full = precision(yolo)

# Half of its MACs, healed on images without labels. `ww.compress` takes much longer.
graph = ww.trace(yolo, images[:1])
plan = ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.5))
small = ww.shrink(yolo, plan)
cut = precision(with_network(yolo, ww.shrink(yolo, plan)))
ww.heal(small, yolo, plan, images.split(16), steps=30)

# Its own trainer, validator, exports and files.
narrow = with_network(yolo, small)
healed = precision(narrow)
careful = {"optimizer": "AdamW", "lr0": 0.001, "warmup_epochs": 0, "scale": 0.0, "translate": 0.0}
narrow.train(**TRAINING, **careful, epochs=3, name="narrow", trainer=trainer(narrow))
trained = precision(narrow)
narrow.save("narrow.pt")
again = YOLO("narrow.pt")
onnx = YOLO(again.export(format="onnx", imgsz=SIZE, simplify=False), task="detect")


def parameters(model: YOLO) -> int:
    return sum(parameter.numel() for parameter in model.model.parameters())


print(f"{'':<32}{'parameters':>12}{'mAP50-95':>10}")
print(f"{'the full network':<32}{parameters(yolo):>12,}{full:>10.1%}")
print(f"{'cut to 50 % of the MACs':<32}{parameters(narrow):>12,}{cut:>10.1%}")
print(f"{'the same, healed':<32}{parameters(narrow):>12,}{healed:>10.1%}")
print(f"{'the same, trained for 3 epochs':<32}{parameters(narrow):>12,}{trained:>10.1%}")
print(f"{'the same, saved and reopened':<32}{parameters(again):>12,}{precision(again):>10.1%}")
print(f"{'the same, as ONNX':<32}{'':>12}{precision(onnx):>10.1%}")
