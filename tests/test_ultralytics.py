"""Networks of ultralytics: narrow, in their own files, trainers and exports."""

from __future__ import annotations

import copy
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torch import nn

import widthwise as ww
from widthwise.errors import ConfigError
from widthwise.network.outputs import tensors_of
from widthwise.ultralytics import trainer, with_network

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("ultralytics") is None, reason="ultralytics is an extra"
    ),
    pytest.mark.filterwarnings("default"),  # not ours to mend
]

SIZE = 64
IMAGES = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
HEADS = ["", "-seg", "-pose"]
NETWORKS = [
    *(f"{family}{head}" for family in ("yolov8n", "yolo11n", "yolo12n") for head in HEADS),
    *("yolo26n", "yolov8n-obb", "yolov8n-rtdetr"),
]
TARGETS = {
    "cls": torch.tensor([0, 1]),
    "bboxes": torch.tensor([[0.5, 0.5, 0.2, 0.2], [0.4, 0.6, 0.3, 0.3]]),
    "batch_idx": torch.tensor([0, 1]),
    "gt_groups": [1, 1],
}
"""Two boxes, as the training forward of RT-DETR wants them."""


@pytest.fixture(autouse=True)
def as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is installed or written outside, and numbers print as before."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("YOLO_AUTOINSTALL", "false")
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path))
    with np.printoptions():
        yield


def build(name: str) -> Any:
    """A `YOLO` for two classes, and one keypoint, whose outputs depend on its weights."""
    from ultralytics import RTDETR, YOLO
    from ultralytics.nn.tasks import yaml_model_load
    from ultralytics.utils import YAML

    YAML.save(f"{name}.yaml", yaml_model_load(f"{name}.yaml") | {"nc": 2, "kpt_shape": [1, 3]})
    torch.manual_seed(0)
    yolo = (RTDETR if "rtdetr" in name else YOLO)(f"{name}.yaml")
    norms = [m for m in yolo.model.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.7, 1.3)
        nn.init.uniform_(norm.bias, -0.3, 0.3)
        norm.momentum = None
    for layer in yolo.model.modules():
        # Of a new head, the constant part is all that comes out.
        if isinstance(layer, nn.Conv2d) and layer.bias is not None:
            layer.weight.data.mul_(10)
    with torch.no_grad():
        yolo.model.train()(IMAGES)
    for norm in norms:
        norm.momentum = 0.03
    yolo.model.eval()
    return yolo


def cut(yolo: Any) -> tuple[nn.Module, ww.Plan]:
    """The network at half of its MACs, proven, and its plan."""
    is_rtdetr = type(yolo).__name__ == "RTDETR"
    # Noisy boxes are put in only where there are boxes.
    batch = {"x": IMAGES, "batch": TARGETS}
    calls = [ww.Call(batch, training=True)] if is_rtdetr else []
    graph = ww.trace(yolo, IMAGES[:1], calls=calls)
    plan = ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.5))
    return ww.shrink(yolo, plan), plan


def draw(task: str) -> str:
    """Write eight images with a box each, for training and for validation; return the data file."""
    numbers = np.random.default_rng(0)
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            (Path(task) / split / kind).mkdir(parents=True)
        for number in range(8):
            x, y, r = *numbers.integers(16, 48, 2).tolist(), 12
            image = Image.new("RGB", (SIZE, SIZE), (60, 60, 60))
            ImageDraw.Draw(image).rectangle((x - r, y - r, x + r, y + r), fill=(200, 50, 50))
            image.save(Path(task) / split / "images" / f"{number}.png")
            box = [x, y, 2 * r, 2 * r]
            corners = [x - r, y - r, x + r, y - r, x + r, y + r, x - r, y + r]
            label = {"detect": box, "pose": [*box, x, y]}.get(task, corners)
            line = [
                number % 2,
                *(value / SIZE for value in label),
                *([2] if task == "pose" else []),
            ]
            (Path(task) / split / "labels" / f"{number}.txt").write_text(" ".join(map(str, line)))
    data = Path(task) / "data.yaml"
    data.write_text(
        f"path: {Path(task).absolute()}\ntrain: train/images\nval: val/images\n"
        "names: [a, b]\nkpt_shape: [1, 3]\n"
    )
    return str(data)


def settings(task: str) -> dict[str, Any]:
    """What a short training is called with."""
    return {
        "data": draw(task), "epochs": 1, "imgsz": SIZE, "batch": 4, "device": "cpu",
        "plots": False, "project": Path("runs").absolute(),
    }  # fmt: skip


def shapes(network: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in network.state_dict().items()}


def same(a: Any, b: Any) -> bool:
    return all(torch.equal(x, y) for x, y in zip(tensors_of(a), tensors_of(b), strict=True))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_narrow_network_is_what_its_file_holds(name: str) -> None:
    """Half the MACs, proven; reopened equal to the bit of its half precision; the same fused."""
    yolo = build(name)
    small, plan = cut(yolo)
    assert 0.45 * plan.full_macs < plan.macs() <= 0.5 * plan.full_macs
    narrow = with_network(yolo, small)
    narrow.save("narrow.pt")
    again = type(yolo)("narrow.pt")
    assert type(again.model) is type(yolo.model)
    halves = copy.deepcopy(small).half().float()
    images = IMAGES[:1]
    assert same(again.model.eval()(images), halves.eval()(images))
    whole = tensors_of(small.eval()(images))[0]
    assert whole.std(-1).mean() > 1e-3
    fused = tensors_of(narrow.fuse(verbose=False).model(images))[0]
    torch.testing.assert_close(fused, whole, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "name", ["yolov8n", "yolo11n-seg", "yolo12n-pose", "yolov8n-obb", "yolov8n-rtdetr"]
)
def test_its_own_trainer_keeps_it_narrow(name: str) -> None:
    """After training, in memory and in the file of the best epoch; and weights have moved."""
    yolo = build(name)
    small, _ = cut(yolo)
    wanted, before = shapes(small), small.state_dict()["model.0.conv.weight"].clone()
    narrow = with_network(yolo, small)
    narrow.train(**settings(yolo.task), trainer=trainer(narrow))
    assert shapes(narrow.model) == wanted
    best = type(yolo)(narrow.trainer.best)
    assert shapes(best.model) == wanted
    assert not torch.equal(best.model.state_dict()["model.0.conv.weight"], before)
    assert narrow.val(data=f"{yolo.task}/data.yaml", imgsz=SIZE, plots=False).box.map >= 0


def test_a_training_that_was_stopped_goes_on() -> None:
    """`resume` builds nothing anew: the narrow network is in the checkpoint."""
    from ultralytics import YOLO

    yolo = build("yolov8n")
    small, _ = cut(yolo)
    narrow = with_network(yolo, small)

    def stop(training: Any) -> None:
        raise KeyboardInterrupt

    narrow.add_callback("on_model_save", stop)
    with pytest.raises(KeyboardInterrupt):
        narrow.train(**settings("detect") | {"epochs": 2}, trainer=trainer(narrow))
    last = YOLO(narrow.trainer.last)
    last.train(resume=True, trainer=trainer(last))
    assert last.trainer.start_epoch == 1
    assert shapes(last.model) == shapes(small)


def test_processes_for_several_devices_train_the_narrow_network() -> None:
    """The script that ultralytics writes for each of them runs, here on one CPU."""
    from ultralytics import YOLO
    from ultralytics.utils.dist import generate_ddp_file

    yolo = build("yolov8n")
    small, _ = cut(yolo)
    narrow = with_network(yolo, small)
    scripts: list[str] = []
    narrow.add_callback(
        "on_pretrain_routine_end",
        lambda training: scripts.append(write(training, generate_ddp_file)),
    )
    narrow.train(**settings("detect"), trainer=trainer(narrow))
    subprocess.run([sys.executable, scripts[0]], check=True, capture_output=True, timeout=120)
    assert shapes(YOLO("runs/again/weights/last.pt").model) == shapes(small)


def write(training: Any, generate: Any) -> str:
    """Write the script for a training into another folder, without this very callback."""
    folder, called = training.args.save_dir, training.callbacks
    training.args.save_dir, training.callbacks = str(Path("runs/again").absolute()), {}
    try:
        return str(generate(training))
    finally:
        training.args.save_dir, training.callbacks = folder, called


def test_the_usual_trainer_is_refused_by_name() -> None:
    """It would build the network at full width; in memory and from a file."""
    from ultralytics import YOLO

    yolo = build("yolov8n")
    small, _ = cut(yolo)
    narrow, options = with_network(yolo, small), settings("detect")
    narrow.save("narrow.pt")
    for each in (narrow, YOLO("narrow.pt")):
        with pytest.raises(KeyError, match=r"trainer=widthwise\.ultralytics\.trainer\(yolo\)"):
            each.train(**options)
    with pytest.raises(ConfigError, match="cannot be built from a list of layers"):
        narrow.train(**options, pretrained=False, trainer=trainer(narrow))


def test_data_with_other_classes_are_refused_by_name() -> None:
    """A narrow network keeps its head."""
    yolo = build("yolov8n")
    small, _ = cut(yolo)
    narrow, options = with_network(yolo, small), settings("detect")
    data = Path(options["data"])
    data.write_text(data.read_text().replace("[a, b]", "[a, b, c]"))
    with pytest.raises(ConfigError, match="`nc` 2, the data 3"):
        narrow.train(**options, trainer=trainer(narrow))


def test_a_file_opens_without_widthwise_and_without_pickled_classes_of_others() -> None:
    """In a fresh process, also where ultralytics reads only classes that it knows."""
    yolo = build("yolov8n")
    small, _ = cut(yolo)
    with_network(yolo, small).save("narrow.pt")
    torch.save(copy.deepcopy(small).half().float().eval()(IMAGES)[0], "wanted.pt")
    torch.save(IMAGES, "images.pt")
    code = (
        "import sys; sys.modules['widthwise'] = None\n"
        "import torch; from ultralytics import YOLO\n"
        f"torch.set_num_threads({torch.get_num_threads()})\n"
        "found = YOLO('narrow.pt').model(torch.load('images.pt'))[0]\n"
        "assert torch.equal(found, torch.load('wanted.pt'))\n"
    )
    environment = os.environ | {"ULTRALYTICS_SAFE_LOAD": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=120)


@pytest.mark.parametrize("name", ["yolov8n", "yolo11n-seg", "yolo12n-pose"])
def test_an_export_computes_what_the_narrow_network_does(name: str) -> None:
    """As ONNX, into a file of its own name."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="export is an extra")
    yolo = build(name)
    small, _ = cut(yolo)
    file = with_network(yolo, small).export(format="onnx", imgsz=SIZE, simplify=False)
    assert Path(file).name == "narrow.onnx"
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    found = torch.from_numpy(session.run(None, {"images": IMAGES[:1].numpy()})[0])
    wanted = tensors_of(small.eval()(IMAGES[:1]))[0]
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3)


def test_what_the_narrow_network_is_put_beside_stays_as_it_was() -> None:
    """Network, settings and callbacks of the full one."""
    yolo = build("yolov8n")
    small, _ = cut(yolo)
    wanted, layers = shapes(yolo.model), copy.deepcopy(yolo.model.yaml)
    narrow = with_network(yolo, small)
    narrow.add_callback("on_train_start", print)
    narrow.overrides["imgsz"] = 7
    assert narrow.model is small
    assert shapes(yolo.model) == wanted
    assert yolo.model.yaml == layers
    assert "imgsz" not in yolo.overrides
    assert print not in yolo.callbacks["on_train_start"]


def test_wrong_arguments_are_answered_with_the_line_to_write() -> None:
    """A network for a `YOLO`, another network, and what has no trainer."""
    yolo = build("yolov8n")
    with pytest.raises(ConfigError, match=r"with_network\(yolo, small\)"):
        with_network(yolo.model, yolo.model)
    with pytest.raises(ConfigError, match=r"got a `YOLO` and a `Linear`"):
        with_network(yolo, nn.Linear(2, 2))
    with pytest.raises(ConfigError, match=r"got a `DetectionModel`(?s:.*)trainer=trainer\(yolo\)"):
        trainer(yolo.model)
