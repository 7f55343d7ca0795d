"""The manifest of a repo folder: every file that visim reads and writes in it, and no others."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

__all__ = [
    "ABOUT",
    "CARD",
    "CONFIG",
    "EMBEDDINGS",
    "INDEX",
    "LOSSES",
    "MANIFEST",
    "MATCHES",
    "MEASUREMENTS",
    "METADATA",
    "METRICS",
    "MODEL_TYPE_NAMES",
    "OF_THE_WEIGHTS",
    "ONNX_CLASSIFIER",
    "ONNX_DECODER",
    "ONNX_FILES",
    "ONNX_MODEL",
    "ONNX_WEIGHTS_KEY",
    "OOD",
    "OOD_TENSORS",
    "OWN_VECTORS",
    "PLOTS",
    "PROCESSOR",
    "PROCESSOR_KEYS",
    "SKIPPED",
    "SPLIT",
    "TRAINING",
    "WEIGHTS",
    "is_in_manifest",
    "manifest_files",
]

CONFIG: Final = "config.json"
WEIGHTS: Final = "model.safetensors"
ONNX_MODEL: Final = "onnx/model.onnx"
ONNX_CLASSIFIER: Final = "onnx/classifier.onnx"
ONNX_DECODER: Final = "onnx/decoder.onnx"
ONNX_FILES: Final = (ONNX_MODEL, ONNX_CLASSIFIER, ONNX_DECODER)
ONNX_WEIGHTS_KEY: Final = "weights_sha256"
"""Key in the metadata of an ONNX file: the SHA-256 of the model.safetensors that it is from."""
PROCESSOR: Final = "preprocessor_config.json"
METADATA: Final = "gallery/metadata.csv"
EMBEDDINGS: Final = "gallery/embeddings.safetensors"
MEASUREMENTS: Final = "gallery/measurements.safetensors"
ABOUT: Final = "gallery/about.json"
INDEX: Final = "gallery/index.json"
SKIPPED: Final = "skipped.csv"
OOD: Final = "ood.json"
OOD_TENSORS: Final = "ood.safetensors"
MATCHES: Final = "match_probability.json"
METRICS: Final = "metrics.json"
CARD: Final = "README.md"
TRAINING: Final = "training.json"
LOSSES: Final = "losses.csv"
SPLIT: Final = "split.csv"
PLOTS: Final = tuple(
    f"plots/{name}.png"
    for name in (
        "confusion",
        "decoded",
        "failures",
        "losses",
        "match_probability",
        "match_scores",
        "reconstructions",
        "reliability",
        "strangeness",
    )
)

MANIFEST: Final[Mapping[str, str]] = {
    CONFIG: "model_type and the model's own arguments",
    WEIGHTS: "the weights, float16",
    ONNX_MODEL: "the network for ONNX Runtime: pixels -> embedding, and a classifier's log_probabilities",
    ONNX_CLASSIFIER: "embedding -> log_probabilities",
    ONNX_DECODER: "embedding -> pixels",
    PROCESSOR: "how a picture becomes the network's input",
    METADATA: "file_name, label and further columns, in the order of the embeddings",
    EMBEDDINGS: "(N, D) float16; hashes of the weights and the processor, and the image root in the header",
    MEASUREMENTS: "what calibrating again needs of each picture",
    ABOUT: "how the gallery describes itself; edited by hand",
    INDEX: "the engine that has the index of the gallery; the other files of the gallery are then of a sample",
    SKIPPED: "files that were left out of the gallery, with the reasons",
    OOD: "the detector's parameters",
    OOD_TENSORS: "the detector's tensors",
    MATCHES: "how probable a match is a true one, by its score",
    METRICS: "every figure of the card, with the command that reproduces it",
    CARD: "the card",
    TRAINING: "what trained the weights: recipe, settings, data",
    LOSSES: "training and validation losses, a row a batch",
    SPLIT: "part of each picture of the training data, by content",
    **dict.fromkeys(PLOTS, "a picture of the card"),
}
"""Path in a repo folder -> what the file holds."""

PROCESSOR_KEYS: Final = (
    "size",
    "resample",
    "antialias",
    "rescale_factor",
    "image_mean",
    "image_std",
    "do_flip_channel_order",
    "do_center_crop",
    "crop_pct",
)
"""Keys of preprocessor_config.json that decide what a network sees, in the order in which visim writes them. A gallery
is tied to their values: see `RepoFolder.sha256`."""

OWN_VECTORS: Final = "own-vectors"
"""`model_type` of a gallery of vectors that its owner brought, without a network."""

MODEL_TYPE_NAMES: Final = frozenset(
    {"car-classifier", "cifar10-classifier", "convolutional-autoencoder", "timm-backbone", OWN_VECTORS}
)
"""`model_type` in the config.json of a repo of visim. A folder whose config.json has another one is not visim's."""

OF_THE_WEIGHTS: Final = (*ONNX_FILES, MATCHES, METRICS, TRAINING, LOSSES, SPLIT, *PLOTS)
"""Files that describe certain weights: they go when the weights are replaced by others."""


def is_in_manifest(name: str) -> bool:
    """Return whether a path, relative to a repo folder, is one of visim's files."""
    return name in MANIFEST


def manifest_files(folder: Path) -> list[str]:
    """List the files of the manifest that a folder has, links included, by their paths relative to it."""
    return [name for name in MANIFEST if os.path.lexists(folder / name) and not (folder / name).is_dir()]
