"""Train a network on handwritten digits, cut it to 30 % of its MACs, and heal it without labels."""

import torch
from torch import nn
from torch.nn import functional

import widthwise as ww
from widthwise.data.digits import load_digits

torch.manual_seed(0)
digits = load_digits()
mean, std = digits.mean[0], digits.std[0]
images, labels = (digits.train.images.float() - mean) / std, digits.train.labels
unseen, answers = (digits.test.images.float() - mean) / std, digits.test.labels


def block(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
    """A convolution with its normalisation and activation."""
    conv = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    return [conv, nn.BatchNorm2d(outputs), nn.ReLU()]


model = nn.Sequential(
    *block(1, 32), *block(32, 32), *block(32, 64, 2), *block(64, 64),
    nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
)  # fmt: skip
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=8)
for _ in range(8):
    for chosen in torch.randperm(len(images)).split(64):
        optimizer.zero_grad()
        functional.cross_entropy(model(images[chosen]), labels[chosen]).backward()
        optimizer.step()
    schedule.step()
model.eval()


@torch.no_grad()
def accuracy(network: nn.Module) -> float:
    """Share of the test images that are answered right."""
    return float((network.eval()(unseen).argmax(1) == answers).double().mean())


# No labels here: 512 training images tell what each layer is worth, and heal what is left.
small, plan = ww.compress(model, images[:512].split(128), budget=ww.Macs(0.3), steps=200)
cut = ww.shrink(model, plan)  # the same cut, as it is without healing

print(f"{'':<32}{'MACs':>10}{'accuracy':>10}")
print(f"{'the trained network':<32}{plan.full_macs:>10,}{accuracy(model):>10.1%}")
print(f"{'cut to 30 % of the MACs':<32}{plan.macs():>10,}{accuracy(cut):>10.1%}")
print(f"{'the same, healed and refined':<32}{plan.macs():>10,}{accuracy(small):>10.1%}")
