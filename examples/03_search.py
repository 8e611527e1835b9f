"""DHP in a plain training loop: widths are learned while the network trains."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

import widthwise as ww

torch.manual_seed(0)
data = load_digits()
images = torch.tensor(data.images, dtype=torch.float32)[:, None] / 16
labels = torch.tensor(data.target)
train, test = slice(0, 1500), slice(1500, None)


def conv(c_in: int, c_out: int) -> nn.Sequential:
    """Convolution, normalisation, activation."""
    return nn.Sequential(nn.Conv2d(c_in, c_out, 3, padding=1), nn.BatchNorm2d(c_out), nn.ReLU())


model = nn.Sequential(
    conv(1, 24), conv(24, 32), nn.MaxPool2d(2), conv(32, 48), nn.AdaptiveAvgPool2d(1), nn.Flatten()
)
model.append(nn.Linear(48, 10))


def epoch(network: nn.Module, optimizer: torch.optim.Optimizer, search=None) -> None:
    """Train for one epoch, and step the search if there is one."""
    network.train()
    for batch in torch.randperm(1500).split(50):
        optimizer.zero_grad()
        cross_entropy(network(images[batch]), labels[batch]).backward()
        optimizer.step()
        if search is not None:
            search.step(optimizer)
            if search.done:
                return


def accuracy(network: nn.Module) -> float:
    """Share of the test digits that are recognised."""
    network.eval()
    with torch.no_grad():
        return float((network(images[test]).argmax(1) == labels[test]).float().mean())


# The published strength suits tens of thousands of steps; here there are hundreds.
search = ww.methods.dhp(model, images[:1], budget=ww.Macs(0.4), sparsity=0.1, check_every=10)
with search:  # an exception in here leaves the model as it was
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(12):
        epoch(model, optimizer, search)
        if search.done:
            break
small, plan = search.finish()
print(plan)

optimizer = torch.optim.SGD(small.parameters(), lr=0.05, momentum=0.9)
for _ in range(4):
    epoch(small, optimizer)
print(f"\ntest accuracy of the narrow network: {accuracy(small):.1%}")
