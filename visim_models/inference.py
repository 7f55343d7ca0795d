"""A network made ready to answer: the same numbers as the network that was trained, up to rounding, in less time."""

import copy
from typing import TypeVar

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from visim_models.pretrained import PretrainedModel

__all__ = ["inference_network", "pictures_at_once"]

_NORM_PREFIX = "batchnorm_"
_PIXELS_AT_ONCE = 160_000
"""Of all pictures of a batch. With more, a layer's output outgrows what glibc's malloc keeps (32 MiB): it is then given
back to the system after each layer and faulted in again, which takes longer than the layer itself."""

_Model = TypeVar("_Model", bound=PretrainedModel)


def inference_network(model: _Model) -> _Model:
    """A copy of a network in evaluation mode that only answers: its embeddings differ by rounding alone.

    Each `batchnorm_<layer>` is folded into <layer>, and the weights are laid out with the channels last, which oneDNN's
    convolutions are faster on. The copy's weights are not the repo's any more: save the network itself.
    """
    network = copy.deepcopy(model).eval().requires_grad_(False)
    for name, norm in list(network.named_children()):
        layer = getattr(network, name.removeprefix(_NORM_PREFIX), None)
        if isinstance(norm, nn.BatchNorm2d) and isinstance(layer, nn.Conv2d):
            folded: nn.Module = fuse_conv_bn_eval(layer, norm)
        elif isinstance(norm, nn.BatchNorm1d) and isinstance(layer, nn.Linear):
            folded = fuse_linear_bn_eval(layer, norm)
        else:
            continue
        setattr(network, name.removeprefix(_NORM_PREFIX), folded)
        setattr(network, name, nn.Identity())
    return network.to(memory_format=torch.channels_last)


def pictures_at_once(size: int) -> int:
    """How many pictures of `size` x `size` pixels go through a network fastest at once, per picture."""
    return min(max(_PIXELS_AT_ONCE // size**2, 1), 256)
