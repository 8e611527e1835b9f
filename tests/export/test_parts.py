"""A network that is used in parts becomes a file per part, and a tracker runs on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tracker_runs import make_tracker_run, moving_square
from widthwise.cli import main
from widthwise.errors import ConfigError, DataError, TraceError
from widthwise.export import to_onnx
from widthwise.export.runs import Format, export_run, metadata
from widthwise.models import resolve
from widthwise.models.siamese import SiameseTracker
from widthwise.network.parts import InParts
from widthwise.tracking import onnx_parts
from widthwise.tracking.onnx_parts import OnnxParts
from widthwise.tracking.running import run_tracker
from widthwise.tracking.siamese import Siamese

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tracking run, exported."""
    folder = make_tracker_run(tmp_path_factory.mktemp("parts") / "run")
    export_run(folder, Format.onnx, folder / "it.onnx")
    return folder


@pytest.fixture
def parts(run: Path) -> OnnxParts:
    """Its two files, loaded."""
    return OnnxParts(run / "it-template.onnx", run / "it-search.onnx")


def test_the_command_writes_both(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Named after the network and the part, with all that is known of the run in each."""
    assert main(["export", str(run)]) == 0
    printed = capsys.readouterr().out
    facts = metadata(run)
    for part in ("template", "search"):
        path = run / f"{facts['name']}-{part}.onnx"
        assert f"{path}\n" in printed
        loaded = onnx.load(path)
        found = {entry.key: entry.value for entry in loaded.metadata_props}
        assert found == facts | {"part": part}
        assert found["template_side"] == "64"
    assert printed.count("largest difference from PyTorch") == 2


def test_torch_programs_come_in_parts_too(run: Path, tmp_path: Path) -> None:
    """They load without the class, for any number of search crops."""
    files = export_run(run, Format.torch_export, tmp_path / "it.pt2")
    assert [file.path.name for file in files] == ["it-template.pt2", "it-search.pt2"]
    extra = {"widthwise.json": ""}
    search = torch.export.load(files[1].path, extra_files=extra).module()
    assert json.loads(extra["widthwise.json"])["part"] == "search"
    network: Any = resolve(str(run)).build().eval()
    crops = torch.rand(3, 3, 128, 128)
    with torch.no_grad():
        template = network.features(torch.rand(1, 3, 64, 64))
        expected = network.compare(template.expand(3, -1, -1, -1), network.features(crops))
        torch.testing.assert_close(search(template=template, crop=crops), expected)


@pytest.mark.parametrize("crops", [1, 2, 3, 7])
def test_the_files_compute_what_the_network_computes(
    crops: int, run: Path, parts: OnnxParts
) -> None:
    """For any number of templates, and one template with any number of search crops."""
    network: Any = resolve(str(run)).build().eval()
    torch.manual_seed(crops)
    templates, searches = torch.rand(crops, 3, 64, 64), torch.rand(crops, 3, 128, 128)
    with torch.no_grad():
        features = network.features(templates)
        one = features[:1].expand(crops, -1, -1, -1)
        scores = network.compare(one, network.features(searches))
    torch.testing.assert_close(parts.features(templates), features, atol=1e-5, rtol=1e-4)
    found = parts.compare(one, parts.features(searches))
    torch.testing.assert_close(found, scores, atol=1e-5, rtol=1e-4)


def test_what_is_free_is_named(run: Path) -> None:
    """The batch is free, the one template is not."""

    def sizes(part: str) -> dict[str, list[Any]]:
        graph = onnx.load(run / f"it-{part}.onnx").graph
        return {
            value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
            for value in graph.input
        }

    channels = resolve(str(run)).build().backbone[-1].num_features
    assert sizes("template") == {"crop": ["batch", 3, 64, 64]}
    assert sizes("search") == {"template": [1, channels, 4, 4], "crop": ["batch", 3, 128, 128]}


def test_the_tracker_finds_the_same_boxes(run: Path, parts: OnnxParts) -> None:
    """In onnxruntime as in PyTorch."""
    frames, boxes = moving_square(6)
    network: Any = resolve(str(run)).build().eval()
    expected = run_tracker(Siamese(network), frames, boxes[0]).boxes
    found = run_tracker(Siamese(parts), frames, boxes[0]).boxes
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)
    assert (found[-1] - found[0]).abs().max() > 1


def test_files_that_are_no_parts_are_refused(run: Path, tmp_path: Path) -> None:
    """Swapped, missing or damaged ones are named, with the command that writes them."""
    template, search = run / "it-template.onnx", run / "it-search.onnx"
    with pytest.raises(DataError, match=r"not the template part(?s:.*)in this order"):
        OnnxParts(search, template)
    with pytest.raises(DataError, match=r"absent\.onnx` cannot be loaded"):
        OnnxParts(template, tmp_path / "absent.onnx")
    (tmp_path / "half.onnx").write_bytes(search.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"half\.onnx` cannot be loaded(?s:.*)widthwise export RUN"):
        OnnxParts(template, tmp_path / "half.onnx")


def test_a_missing_runtime_is_named(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs it."""
    monkeypatch.setattr(onnx_parts.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"`onnxruntime`(?s:.*)widthwise\[export\]"):
        OnnxParts(run / "it-template.onnx", run / "it-search.onnx")


@pytest.mark.parametrize("training", [True, False])
def test_parts_change_nothing(training: bool) -> None:
    """Asking a network for its parts leaves mode and statistics, and shares the weights."""
    network = SiameseTracker((4, 4, 4, 8, 8)).train(training)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    parts = network.parts()
    assert network.training is training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    shared = {parameter.data_ptr() for parameter in network.parameters()}
    for part in parts.values():
        assert {parameter.data_ptr() for parameter in part.module.parameters()} == shared


def test_a_backbone_of_timm_has_parts() -> None:
    """The example features have the size of its own."""
    search = SiameseTracker(backbone="resnet18").parts()["search"]
    assert search.inputs["template"].shape == (1, 64, 8, 8)


def test_only_networks_that_say_so_have_parts() -> None:
    """Others become one file."""
    assert isinstance(SiameseTracker(), InParts)
    assert not isinstance(nn.Conv2d(3, 3, 1), InParts)


def test_a_network_without_counterpart_in_onnx_says_why(tmp_path: Path) -> None:
    """As a whole, the tracker has as many groups as pairs; the error is one of ours."""
    crops = torch.rand(1, 3, 64, 64), torch.rand(1, 3, 128, 128)
    with pytest.raises(TraceError, match=r"`SiameseTracker`(?s:.*)groups(?s:.*)torch_export"):
        to_onnx(SiameseTracker((4, 4, 4, 8, 8)), crops, tmp_path / "whole.onnx")
    assert not list(tmp_path.iterdir())
