"""Narrow a network without training, under two budgets, and store it."""

from pathlib import Path

import torch
import torchvision

import widthwise as ww

torch.manual_seed(0)
model = torchvision.models.mobilenet_v2().eval()
image = torch.randn(1, 3, 224, 224)
graph = ww.trace(model, image)

plan = ww.plan(
    graph,
    score=ww.scores.L1(),
    budget=[ww.Macs(0.4), ww.Params("60%")],  # both are met
    round_to=8,  # hardware likes multiples of 8
    min_keep=0.2,  # no layer keeps less than a fifth
    exclude=["features.0.*"],  # the stem stays as it is
)
print(plan)

small = ww.shrink(model, plan)  # raises if the narrow network computes anything else
print(f"\noutput of the narrow network: {tuple(small(image).shape)}")

# A folder with plan.json, which a person can read, and model.safetensors.
ww.save(small, plan, "mobilenet-small")
again = ww.load("mobilenet-small", torchvision.models.mobilenet_v2).eval()
print(f"loaded network gives the same: {torch.equal(again(image), small(image))}")
print(f"plan.json has {Path('mobilenet-small/plan.json').stat().st_size:,} bytes")
