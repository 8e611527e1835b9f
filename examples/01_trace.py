"""Look before you cut: which channels of a network are tied, and what they cost."""

import torch
import torchvision

import widthwise as ww

# Shapes are enough: a network on the meta device has no weights and takes no memory.
with torch.device("meta"):
    model = torchvision.models.shufflenet_v2_x1_0()

graph = ww.trace(model, torch.empty(1, 3, 224, 224, device="meta"))
print(graph)

axis = graph.axes["stage2.0.branch1.2"]
print(f"\n{axis.name}: {axis.width} units of {axis.unit_size} channels, in these tensors:")
for tensor, dim in axis.members[:8]:
    print(f"    {tensor}, dim {dim}")
