"""Exported files compute what the narrow network computes, or are not written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import widthwise as ww
from widthwise.errors import ConfigError, ProofError, RunError, TraceError
from widthwise.export import Exported, checking, to_onnx, to_torch_export
from widthwise.export.checking import largest_difference
from widthwise.models import resolve

try:
    import onnxruntime
except ImportError:
    onnxruntime = None

needs_onnx = pytest.mark.skipif(onnxruntime is None, reason="onnxruntime is not installed")
FORMATS = [
    pytest.param(to_onnx, id="onnx", marks=needs_onnx),
    pytest.param(to_torch_export, id="torch_export"),
]
Export = Callable[..., Exported]


def run_file(path: Path, images: Tensor) -> Tensor:
    """Run an exported file of one input and one output, by nothing of Widthwise."""
    if path.suffix == ".onnx":
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        (entry,) = session.get_inputs()
        return torch.from_numpy(session.run(None, {entry.name: images.numpy()})[0])
    return torch.export.load(path).module()(images)


def narrowed(name: str, *, batches: int = 2, **options: Any) -> tuple[nn.Module, Tensor]:
    """A network at half the MACs by L1, with running statistics of its own, and an input."""
    torch.manual_seed(0)
    spec = resolve(name)
    model = spec.build(**options)
    images = torch.randn(4, *spec.input_shape[1:])
    small = ww.shrink(
        model, ww.plan(ww.trace(model, images[:1]), score=ww.scores.L1(), budget=ww.Macs(0.5))
    )
    with torch.no_grad():
        for _ in range(batches):
            small(images)
    return small, images


def check(export: Export, name: str, folder: Path) -> None:
    """Export, run the file on other images in another batch size, compare."""
    small, images = narrowed(name)
    path = folder / ("a.onnx" if export is to_onnx else "a.pt2")
    exported = export(small, images, path)
    assert exported.path == path
    assert exported.bytes == path.stat().st_size
    assert exported.largest_difference <= 1e-4
    others = torch.randn(3, *images.shape[1:])
    with torch.no_grad():
        expected = small.eval()(others)
    got = run_file(path, others)
    assert (got - expected).abs().max() <= 1e-4 * max(1.0, expected.abs().max().item())


@pytest.mark.parametrize("export", FORMATS)
def test_a_narrow_resnet_agrees(export: Export, tmp_path: Path) -> None:
    """ResNet-20 at half the MACs computes the same from its file, at any batch size."""
    check(export, "widthwise/resnet20", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("export", FORMATS)
@pytest.mark.parametrize("name", ["resnet56", "densenet40", "mobilenet_v2", "shufflenet_v2"])
def test_narrow_networks_agree(export: Export, name: str, tmp_path: Path) -> None:
    """Residual, dense, depth-wise and shuffled networks at uneven widths survive the export."""
    check(export, f"widthwise/{name}", tmp_path)


@pytest.mark.parametrize("export", FORMATS)
def test_export_changes_and_prints_nothing(
    export: Export, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The network keeps its mode, its statistics and its weights; the exporters stay quiet."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.Conv2d(4, 2, 1))
    model[1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    export(model, torch.randn(1, 3, 8, 8), tmp_path / "a.pt2")
    assert [module.training for module in model] == [True, False, True, True]
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert capfd.readouterr() == ("", "")


class Named(nn.Module):
    """Two inputs by name and two outputs in a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Linear(4, 3)

    def forward(self, left: Tensor, right: Tensor) -> dict[str, Tensor]:
        return {"sum": self.left(left) + right, "right": right * 2}


@pytest.mark.parametrize("export", FORMATS)
def test_several_inputs_and_outputs(export: Export, tmp_path: Path) -> None:
    """Keyword inputs, and outputs in a dict, are exported and checked too."""
    inputs = {"right": torch.randn(2, 3), "left": torch.randn(2, 4)}
    assert export(Named(), inputs, tmp_path / "a.pt2").largest_difference < 1e-5


class Unsteady(nn.Module):
    """Computes something else each time it runs in Python."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x * self.calls


@pytest.mark.parametrize("export", FORMATS)
def test_a_file_that_disagrees_is_not_written(export: Export, tmp_path: Path) -> None:
    """The error names the largest difference; the old file stays, and no other one appears."""
    path = tmp_path / "a.pt2"
    path.write_bytes(b"old")
    with pytest.raises(ProofError, match=r"largest difference \d\.\d\de[+-]\d\d on a batch of \d"):
        export(Unsteady(), torch.randn(1, 3), path)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"old"]


@pytest.mark.parametrize("export", FORMATS)
def test_a_network_of_nan_is_not_written(export: Export, tmp_path: Path) -> None:
    """NaN in place of outputs is no agreement."""
    model = nn.Linear(3, 3)
    nn.init.constant_(model.weight, torch.nan)
    with pytest.raises(ProofError, match="nan"):
        export(model, torch.randn(1, 3), tmp_path / "a.pt2")


class FixedBatch(nn.Module):
    """Takes the batch size for a constant."""

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(2, -1)


@pytest.mark.parametrize("export", FORMATS)
def test_a_forward_that_fixes_the_batch_says_so(export: Export, tmp_path: Path) -> None:
    """What cannot be captured for every batch size is an error with the way out."""
    with pytest.raises(TraceError, match=r"`FixedBatch` cannot be exported(?s:.*)x.shape\[0\]"):
        export(FixedBatch(), torch.randn(2, 3), tmp_path / "a.pt2")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("export", FORMATS)
def test_a_missing_folder_is_made(export: Export, tmp_path: Path) -> None:
    """A path into a folder that does not exist yet is fine; one through a file is an error."""
    export(nn.Linear(3, 2), torch.randn(1, 3), tmp_path / "new" / "a.pt2")
    assert (tmp_path / "new" / "a.pt2").is_file()
    with pytest.raises(RunError, match="Cannot write"):
        export(nn.Linear(3, 2), torch.randn(1, 3), tmp_path / "new" / "a.pt2" / "b.pt2")


@needs_onnx
def test_an_onnx_file_knows_its_facts_and_no_paths(tmp_path: Path) -> None:
    """Metadata is there, the batch has a name, and no path of the exporting machine is in it."""
    import onnx

    path = tmp_path / "a.onnx"
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 1))
    to_onnx(model, torch.randn(2, 3, 8, 8), path, metadata={"macs": "12", "name": "naïve"})
    loaded = onnx.load(path)
    onnx.checker.check_model(loaded, full_check=True)
    assert {entry.key: entry.value for entry in loaded.metadata_props} == {
        "macs": "12",
        "name": "naïve",
    }
    for value in (loaded.graph.input[0], loaded.graph.output[0]):
        assert value.type.tensor_type.shape.dim[0].dim_param == "batch"
    assert str(Path(torch.__file__).parent).encode() not in path.read_bytes()
    assert str(Path.cwd()).encode() not in path.read_bytes()


def test_a_torch_program_knows_its_facts(tmp_path: Path) -> None:
    """Metadata is an extra file inside, which `torch.export.load` hands out."""
    path = tmp_path / "a.pt2"
    to_torch_export(nn.Linear(3, 2), torch.randn(1, 3), path, metadata={"macs": "6"})
    extra = {"widthwise.json": ""}
    torch.export.load(path, extra_files=extra)
    assert json.loads(extra["widthwise.json"]) == {"macs": "6"}


@pytest.mark.parametrize("name", ["onnx", "onnxscript", "onnxruntime"])
def test_missing_packages_are_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without one of the extras the error says which, and how to install them."""
    monkeypatch.setitem(__import__("sys").modules, name, None)
    with pytest.raises(ConfigError, match=rf"`{name}`(?s:.*)pip install 'widthwise\[export\]'"):
        to_onnx(nn.Linear(3, 2), torch.randn(1, 3), tmp_path / "a.onnx")


@needs_onnx
def test_a_network_above_two_gibibytes_is_refused(tmp_path: Path) -> None:
    """The limit of the format is said before minutes are spent on it."""
    with torch.device("meta"):
        model = nn.Linear(2**15, 2**14)
    with pytest.raises(ConfigError, match=r"2\.0 GiB(?s:.*)torch_export"):
        to_onnx(model, torch.randn(1, 2**15), tmp_path / "a.onnx")


def test_differences() -> None:
    """Differences are relative above 1 and absolute below; other shapes never agree."""
    small, large = torch.tensor([0.1, 0.2]), torch.tensor([0.1, 1000.0])
    assert largest_difference([small], [small + 0.01]) == pytest.approx(0.01)
    assert largest_difference([large], [large + 0.01]) == pytest.approx(1e-5, rel=0.01)
    assert largest_difference([small], [small[:1]]) == float("inf")
    assert largest_difference([small], []) == float("inf")
    assert largest_difference([small, small], [small, torch.nan * small]) != 0


def test_both_batch_sizes_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that agrees on one size alone is refused."""
    seen: list[int] = []

    def compare(expected: Any, got: Any) -> float:
        seen.append(len(expected[0]))
        return 0.0 if len(seen) == 1 else 1.0

    monkeypatch.setattr(checking, "largest_difference", compare)
    with pytest.raises(ProofError, match="batch of 5"):
        to_torch_export(nn.Linear(3, 2), torch.randn(1, 3), tmp_path / "a.pt2")
    assert seen == [1, 5]


@pytest.mark.parametrize("name", ["RANK", "SLURM_PROCID"])
@pytest.mark.parametrize("export", FORMATS)
def test_every_process_writes_what_it_exports(
    export: Export, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is not the first of a cluster job has the file it was told it has."""
    monkeypatch.setenv(name, "1")
    network = nn.Sequential(nn.Conv2d(3, 4, 1))
    exported = export(network, torch.zeros(1, 3, 4, 4), tmp_path / "file")
    assert exported.path.stat().st_size == exported.bytes
