"""The parts of a model's repo that a gallery is built with: network, processor and detector."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from visim_models.errors import ConfigurationError, OutputError
from visim_models.models import PretrainedModel
from visim_models.models.network import Network, load_network
from visim_models.models.timm_source import is_timm_name, timm_repo
from visim_models.ood import OutOfDistributionDetector, Weighting
from visim_models.processing import ImageProcessor
from visim_models.repo_folder import RepoDraft, RepoFolder
from visim_models.repo_folder.manifest import CONFIG, PROCESSOR, WEIGHTS

__all__ = ["ModelParts"]

_FALSE_ALARM_RATE: Final = 0.05


@dataclass(frozen=True)
class ModelParts:
    """A network with its processor and a detector whose score fits it.

    Attributes:
        repo: the repo folder that they are from.
        name: short name, "namespace/repo" or name of the folder.
        network: the network, ready to embed.
        processor: makes the network's input.
        detector: judges by the distance to the nearest pictures; a gallery's own pictures calibrate it.
        weights_sha256: SHA-256 of the weights file.
        processor_sha256: SHA-256 of preprocessor_config.json.
    """

    repo: RepoFolder
    name: str
    network: Network
    processor: ImageProcessor
    detector: OutOfDistributionDetector
    weights_sha256: str
    processor_sha256: str

    @property
    def model(self) -> PretrainedModel:
        """Return the network as a module of torch."""
        model: PretrainedModel = self.network.model  # type: ignore[attr-defined]
        return model

    @classmethod
    def load(cls, source: str | os.PathLike[str] | RepoFolder) -> Self:
        """Load the parts of a repo, and check them against each other; its gallery is not needed.

        Args:
            source: a folder, "namespace/repo" on the Hub, a short name such as "car-extractor", an open repo folder, or
                "timm:NAME" for a network of timm.

        Raises:
            RepositoryError: the repo cannot be found or downloaded.
            ConfigurationError: a JSON file is missing, wrong, or not of one repo with the others.
            WeightsError: a safetensors file is missing, damaged, or of another model.
        """
        repo = timm_repo(source) if is_timm_name(source) else RepoFolder.find(source)
        network, processor = load_network(repo), ImageProcessor.load(repo)
        if processor.size != network.image_size:
            raise ConfigurationError(
                f"{repo.path}: {PROCESSOR} makes {processor.size} x {processor.size} pictures, but the network of "
                f"{CONFIG} takes {network.image_size} x {network.image_size}: they are not of one repo.",
                path=repo.path,
            )
        hashes = repo.sha256(WEIGHTS), repo.sha256(PROCESSOR)
        return cls(repo, _name(source, repo), network, processor, _distance_detector(), *hashes)

    def check_same(self, repo: RepoFolder) -> None:
        """Refuse an output that is the repo of another network, or has another processor.

        Raises:
            OutputError: it is.
        """
        for name, sha256 in ((WEIGHTS, self.weights_sha256), (PROCESSOR, self.processor_sha256)):
            if repo.has(name) and repo.sha256(name) != sha256:
                raise OutputError(
                    f"{repo.path} is a repo of another network than {self.name} (its {name} differs): nothing was "
                    "changed. Choose a new folder, or name its own network.",
                    path=repo.path,
                    key=name,
                )

    def write_files(self, draft: RepoDraft) -> None:
        """Copy the network and the processor into a draft."""
        for name in (CONFIG, WEIGHTS, PROCESSOR):
            draft.copy(name, self.repo)


def _distance_detector() -> OutOfDistributionDetector:
    """Return the detector of a gallery of anything: the distance to its nearest pictures (Sun et al. 2022).

    A detector that came with the network was fitted to tell its own pictures from others, cars for example, and knows
    nothing of these. A gallery's own pictures calibrate this one; the threshold is never used.
    """
    weightings = {"neighbour_distance": Weighting(weight=1.0, mean=0.0, std=1.0)}
    return OutOfDistributionDetector(weightings, threshold=0.0, false_alarm_rate=_FALSE_ALARM_RATE)


def _name(source: str | os.PathLike[str] | RepoFolder, repo: RepoFolder) -> str:
    """Return a name for the card, without a path of this machine."""
    if isinstance(source, str) and not Path(source).exists():
        return source
    return repo.path.resolve().name
