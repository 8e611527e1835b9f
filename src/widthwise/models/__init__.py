"""Networks shipped with Widthwise, and the names by which any network is found."""

from widthwise.models.registry import ModelSpec, list_models, resolve
from widthwise.models.resnet_cifar import ResNetCifar

__all__ = ["ModelSpec", "ResNetCifar", "list_models", "resolve"]
