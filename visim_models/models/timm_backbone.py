"""Any network of timm, without its head: a picture -> the features before the last layer.

Source: Wightman, "PyTorch Image Models", https://github.com/huggingface/pytorch-image-models.
"""

import json
from typing import Any, Final

from torch import Tensor

from visim_models.errors import ConfigurationError, MissingExtraError, WeightsError
from visim_models.models.base import PretrainedModel

__all__ = ["TimmBackbone"]

_ARGUMENTS: Final = frozenset(
    {
        "depth", "depths", "dims", "embed_dim", "embed_dims", "global_pool", "img_size", "init_values", "layers",
        "mlp_ratio", "no_embed_class", "num_heads", "patch_size", "reg_tokens", "width_multiplier",
    }
)  # fmt: skip
"""Arguments of timm's networks that give them their shape. Others make timm read files."""


class TimmBackbone(PretrainedModel):
    """A network that timm builds, cut before its classifier.

    Args:
        architecture: timm's name of the network, such as "tf_efficientnet_lite0".
        image_size: side of the square pictures that it takes, in pixels.
        arguments: further arguments of the network, as a JSON object; "" for none.
        source: where the weights are from.
        revision: the exact version of the source; "" if it has none.
        license: SPDX id of the weights' licence; "" if unknown.

    Raises:
        MissingExtraError: timm is not installed.
        ConfigurationError: timm has no such network, or not with these arguments.
    """

    model_type = "timm-backbone"

    def __init__(
        self,
        *,
        architecture: str,
        image_size: int,
        arguments: str = "",
        source: str = "",
        revision: str = "",
        license: str = "",
    ) -> None:
        super().__init__(
            {
                "architecture": architecture,
                "image_size": image_size,
                "arguments": arguments,
                "source": source,
                "revision": revision,
                "license": license,
            }
        )
        self.network = _build(architecture, arguments, classes=0)
        self.image_size = image_size
        self.embedding_dim = int(getattr(self.network, "head_hidden_size", None) or self.network.num_features)

    def embed(self, pixels: Tensor) -> Tensor:
        """Embed pictures: (N, 3, S, S) pixels -> (N, D) features."""
        features: Tensor = self.network(pixels)
        return features

    def forward(self, pixels: Tensor) -> Tensor:
        """Embed pictures: (N, 3, S, S) pixels -> (N, D) features."""
        return self.embed(pixels)

    def take_timm_weights(self, tensors: dict[str, Tensor], *, classes: int, name: str) -> None:
        """Copy the weights of timm's network with its classifier; every one must be there, and no other.

        Args:
            tensors: the weights by timm's names.
            classes: of the classifier, which is left out.
            name: the file that messages name.

        Raises:
            WeightsError: they are not those of this network.
        """
        try:
            whole = _build(self.config["architecture"], self.config["arguments"], classes=classes)
            whole.load_state_dict(tensors, strict=True)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:300]
            raise WeightsError(f"{name} does not fit {self.config['architecture']} ({reason}).") from error
        whole.reset_classifier(0)
        self.load_weights({f"network.{key}": tensor for key, tensor in whole.state_dict().items()}, name=name)


def _build(architecture: str, arguments: str, *, classes: int) -> Any:
    """Build a network of timm with random weights; nothing is read or downloaded."""
    try:
        import timm
    except ImportError as error:
        raise MissingExtraError("timm", extra="timm", purpose="This network") from error
    if not timm.is_model(architecture):  # a name with a prefix would make timm ask the Hub
        raise ConfigurationError(f"timm has no network {architecture!r}: see timm.list_models().", key="architecture")
    try:
        given = json.loads(arguments) if arguments else {}
        if unknown := set(given) - _ARGUMENTS:
            raise ValueError(f"unknown arguments {sorted(unknown)}")
        return timm.create_model(architecture, pretrained=False, num_classes=classes, **given)
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        raise ConfigurationError(
            f"timm builds no network {architecture!r} with the arguments {arguments or 'none'} ({error}).",
            key="architecture",
        ) from error
