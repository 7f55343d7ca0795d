"""The articles' own weights files, turned into repo folders: the features are those of the articles' own code."""

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

import hub
from benchmarks.article import ArticleAutoencoder, ArticleCarExtractor
from hub.__main__ import main
from hub.import_article import import_article
from tests.builders import files_of, write_pictures
from visim_models import WeightsError


def article_pixels(path: Path, kind: str) -> Tensor:
    """What the articles' code feeds, written anew: resized without antialiasing; BGR / 255, or RGB by 0.5 and 0.5."""
    rgb = (
        torch.from_numpy(np.asarray(Image.open(path).convert("RGB")).copy()).permute(2, 0, 1).float()[None]
    )  # (1, 3, H, W)
    size = 100 if kind == "car" else 32
    small = F.interpolate(rgb, size=(size, size), mode="bilinear", align_corners=False).round() / 255
    return small.flip(1) if kind == "car" else (small - 0.5) / 0.5


def saved(network: nn.Module, path: Path) -> Path:
    torch.save(network.state_dict(), path)
    return path


def trained_looking(network: nn.Module) -> nn.Module:
    """With batch norm statistics that are not those of a fresh network, so that each key matters."""
    generator = torch.Generator().manual_seed(3)
    for key, buffer in network.named_buffers():
        if key.endswith("running_mean"):
            buffer.normal_(0, 0.05, generator=generator)
        if key.endswith("running_var"):
            buffer.uniform_(0.5, 1.5, generator=generator)
    return network.eval()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "pictures", 4, size=160)


def test_the_features_of_a_car_import_are_the_articles(pictures: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = trained_looking(ArticleCarExtractor())
    report = import_article("car", saved(network, tmp_path / "model_state100.pt"), pictures, tmp_path / "repo")
    assert report.pictures == 16
    imported = hub.load(tmp_path / "repo")
    for place, name in enumerate(imported.gallery.file_names):
        with torch.inference_mode():
            expected = network(article_pixels(pictures / name, "car"))[0].numpy()
        for features in (imported.embed(pictures / name), imported.gallery.embeddings[place]):
            assert np.linalg.norm(features - expected) <= 3e-3 * np.linalg.norm(expected)
    assert imported.search(pictures / imported.gallery.file_names[2], top_k=1).matches[0].percent == 100


def test_the_codes_of_an_autoencoder_import_are_the_articles(pictures: Path, tmp_path: Path) -> None:
    torch.manual_seed(2)
    network = ArticleAutoencoder().eval()
    import_article("autoencoder", saved(network, tmp_path / "autoencoder.pt"), pictures, tmp_path / "repo")
    imported = hub.load(tmp_path / "repo")
    assert imported.ood.weightings.keys() == {"neighbour_distance"}
    for name in imported.gallery.file_names:
        with torch.inference_mode():
            expected = network.encoder(article_pixels(pictures / name, "autoencoder"))[0].numpy()
        assert np.linalg.norm(imported.embed(pictures / name) - expected) <= 5e-3 * np.linalg.norm(expected)


def test_the_pickle_of_features_is_refused_with_the_reason(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = saved(ArticleCarExtractor(), tmp_path / "model.pt")
    arguments = ["--kind", "car", "--weights", str(weights), "--images", str(pictures), "--out", str(tmp_path / "repo")]
    assert main(["import-article", *arguments, "--features", "similarity_features.pkl"]) == 2
    assert "a pickle is a program" in capsys.readouterr().err
    assert not (tmp_path / "repo").exists()
    assert main(["import-article", *arguments]) == 0
    assert "16 pictures" in capsys.readouterr().out


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = str(target)

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path(self.target),)  # type: ignore[return-value]


def broken_files(folder: Path) -> dict[str, Path]:
    state = ArticleCarExtractor().state_dict()
    files = {
        name: folder / f"{name}.pt" for name in ("pickle", "whole_module", "cut", "list", "lacking", "extra", "shape")
    }
    files["pickle"].write_bytes(pickle.dumps(Bomb(folder / "exploded")))
    torch.save(ArticleCarExtractor(), files["whole_module"])
    torch.save(state, folder / "good.pt")
    files["cut"].write_bytes((folder / "good.pt").read_bytes()[:50_000])
    torch.save([1, 2], files["list"])
    torch.save({key: value for key, value in state.items() if key != "fc1.bias"}, files["lacking"])
    torch.save({**state, "fc9.bias": torch.zeros(3)}, files["extra"])
    torch.save({**state, "fc1.bias": torch.zeros(512)}, files["shape"])
    files["missing"] = folder / "missing.pt"
    files["another"] = saved(ArticleAutoencoder(), folder / "autoencoder.pt")
    return files


def test_what_is_no_state_dict_of_the_network_is_refused_and_not_run(pictures: Path, tmp_path: Path) -> None:
    for name, path in broken_files(tmp_path).items():
        with pytest.raises(WeightsError, match=path.name):
            import_article("car", path, pictures, tmp_path / "repo")
        assert not (tmp_path / "repo").exists(), name
    assert not (tmp_path / "exploded").exists()
    assert not list(tmp_path.glob(".repo*"))


def test_a_zip_of_pictures_will_do(pictures: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "pictures.zip", "w") as archive:
        for path in pictures.rglob("*.png"):
            archive.write(path, path.relative_to(pictures))
    weights = saved(ArticleAutoencoder(), tmp_path / "model.pt")
    import_article("autoencoder", weights, pictures, tmp_path / "a", image_root="")
    import_article("autoencoder", weights, tmp_path / "pictures.zip", tmp_path / "b", image_root="")
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
