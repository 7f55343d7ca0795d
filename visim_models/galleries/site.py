"""Write galleries as a static page: plain files that any web server serves, with networks that run in the browser."""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm

from visim_models.errors import ConfigurationError, GalleryError, OutputError, VisimError
from visim_models.gallery import Gallery
from visim_models.images import decode_image
from visim_models.models.loading import load_network
from visim_models.models.network import Network
from visim_models.onnx_network import onnx_files
from visim_models.ood import OutOfDistributionDetector
from visim_models.processing import ImageProcessor
from visim_models.repo_folder import RepoFolder
from visim_models.repo_folder.atomic import replacing_files
from visim_models.repo_folder.formats import one_line
from visim_models.repo_folder.manifest import CONFIG, INDEX, METRICS, ONNX_CLASSIFIER
from visim_models.repo_folder.metrics import Metrics
from visim_models.repo_folder.writer import check_apart
from visim_models.search.results import MatchProbability
from visim_models.sources.cache import cache_folder
from visim_models.sources.store import ImageStore

__all__ = ["SitePage", "SiteReport", "find_assets", "find_runtime", "write_site"]

_PART_BYTES: Final = 8 * 2**20
"""Of the embeddings a file, so that progress shows and hosts with small limits take them."""
_SHEET_COLUMNS: Final = 10
_TILE_SIDE: Final = 320
_AT_ONCE: Final = 64
_SITE: Final = "site.json"
_MADE_BY: Final = "visim"
_RUNTIME_FILES: Final = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")


@dataclass(frozen=True, kw_only=True)
class SitePage:
    """One gallery of a site.

    Attributes:
        key: names it in links; "cars" and "cifar10" have texts of their own.
        ways: name of a way to compare -> repo folder; the first is the usual one. All have the same file names.
        judge: name of the way that gives the verdict; None for the way that compares.
        painter: an autoencoder's repo with the same file names, which draws tiles; None where there is none.
        pictures: where small copies of the pictures come from, to be part of the site; None to leave them out.
        is_own: its texts are those of its about.json.
    """

    key: str
    ways: Mapping[str, RepoFolder]
    judge: str | None = None
    painter: RepoFolder | None = None
    pictures: str | None = None
    is_own: bool = True


@dataclass(frozen=True)
class SiteReport:
    """What was written.

    Attributes:
        folder: of the site.
        sizes: file name -> bytes.
        notes: what a maker should know.
    """

    folder: Path
    sizes: dict[str, int] = field(repr=False)
    notes: list[str]

    def lines(self) -> list[str]:
        """Return the report as lines of text."""
        total = sum(self.sizes.values()) / 1e6
        return [f"{self.folder}: {len(self.sizes):,} files, {total:.1f} MB", *self.notes]


def write_site(
    pages: Sequence[SitePage],
    out: str | os.PathLike[str],
    *,
    assets: Path,
    runtime: Path,
    title: str = "",
    progress: bool = True,
) -> SiteReport:
    """Write a static page of galleries into a folder.

    Args:
        pages: the galleries; the first one is shown first.
        out: a new or empty folder, or a site that visim wrote, which is replaced in one step; files of others stay.
        assets: the folder `web` with the page's own files.
        runtime: the folder `dist` of the npm package onnxruntime-web.
        title: of the page; by default that of the first gallery.
        progress: show progress bars.

    Raises:
        OutputError: `out` holds files that visim did not write, or is not apart from a repo.
        GalleryError: a gallery is in an engine, or two ways have other file names.
        VisimError: a repo cannot be read, or its network cannot be written as ONNX.
    """
    target = check_apart(out, inputs=[repo.path for page in pages for repo in page.ways.values()])
    owned = _files_of_site(target)
    notes: list[str] = []
    new: set[str] = set()  # if writing fails, they are nobody's: else they would be put into `out`
    with replacing_files(target, owned=lambda name: name in owned or name in new) as staged:
        try:
            _copy_runtime(staged, runtime)
            described = [_write_page(page, staged, notes, progress=progress) for page in pages]
            heading = title or (described[0]["title"] if len(pages) == 1 else "")
            _copy_assets(staged, assets, heading or "visim", described[0], _hosts(pages))
        finally:
            new |= {path.relative_to(staged).as_posix() for path in _files(staged)} | {_SITE}
        if strangers := sorted(name for name in new - owned if os.path.lexists(target / name)):
            raise OutputError(
                f"{target} has {strangers[0]}, which visim did not write, where the site needs a file of that name: "
                "nothing was changed. Move it, or choose another folder.",
                path=target / strangers[0],
            )
        sizes = {str(path.relative_to(staged).as_posix()): path.stat().st_size for path in _files(staged)}
        site = {"made_by": _MADE_BY, "title": heading, "galleries": described, "files": sorted([*sizes, _SITE])}
        _write_json(staged / _SITE, site)
    return SiteReport(target, sizes, notes)


def find_assets() -> Path:
    """Return the folder with the page's own files: in the wheel beside this package, in a checkout at its top."""
    package = Path(__file__).resolve().parents[1]
    return next(folder for folder in (package / "web", package.parent / "web") if (folder / "index.html").exists())


def find_runtime(assets: Path) -> Path:
    """Return the folder `dist` of onnxruntime-web: beside the page's files, else of the cache, which npm fills.

    Raises:
        OutputError: it is not there, and npm cannot fetch it.
    """
    cache = cache_folder("web")
    folders = [folder / "node_modules" / "onnxruntime-web" / "dist" for folder in (assets, cache)]
    for folder in folders:
        if all((folder / name).exists() for name in _RUNTIME_FILES):
            return folder
    try:
        cache.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copyfile(assets / name, cache / name)
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
        subprocess.run(command, cwd=cache, check=True, capture_output=True, timeout=600, text=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise OutputError(
            f"The static page needs onnxruntime-web, and npm could not fetch it ({one_line(error)}). Install Node.js, "
            f"or run `npm ci` in {assets}.",
            path=cache,
        ) from error
    return folders[1]


def _files_of_site(target: Path) -> frozenset[str]:
    """Return the files that visim wrote into a folder before; none for a new or empty one.

    Raises:
        OutputError: it holds files and is no site.
    """
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return frozenset()
    try:
        site = json.loads((target / _SITE).read_text(encoding="utf-8"))
        if site["made_by"] == _MADE_BY:
            return frozenset(str(name) for name in site["files"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise OutputError(
        f"The output {target} holds files that visim did not write, and is no site of visim: nothing was changed. "
        "Choose a new or empty folder.",
        path=target,
    )


def _write_page(page: SitePage, staged: Path, notes: list[str], *, progress: bool) -> dict[str, Any]:
    """Write the files of one gallery; return what site.json says of it."""
    names: list[str] | None = None
    ways = []
    sheets = None
    for number, (way, repo) in enumerate(page.ways.items()):
        gallery = Gallery.load(repo, sample=True)
        if repo.has(INDEX):
            raise GalleryError(
                f"{repo.path}: its gallery is in an engine; a static page holds all pictures itself.", path=repo.path
            )
        if names is not None and names != gallery.file_names:
            raise GalleryError(f"{repo.path} has other file names than the first way to compare.", path=repo.path)
        names = gallery.file_names
        folder = f"{page.key}-{number}"
        if number == 0 and page.painter:
            sheets = _write_sheets(page.painter, names, staged, f"{page.key}-tiles", progress=progress)
        has_pictures = bool(page.pictures) and _write_pictures(
            str(page.pictures), names, staged / folder, notes, progress=progress
        )
        _write_way(repo, gallery, staged / folder, sheets=sheets, has_pictures=has_pictures)
        ways.append({"name": way, "folder": folder})
        about = gallery.about
    judged = next((each["folder"] for each in ways if each["name"] == page.judge), None)
    texts = {key: " ".join(getattr(about, key).split()) for key in ("title", "one", "many", "description")}
    return {
        "key": page.key,
        "ways": ways,
        "judge": judged,
        "is_own": page.is_own,
        **texts,
        "title": texts["title"] or _name_of(next(iter(page.ways.values())), page),
        "show_columns": list(about.columns),
        "link_column": about.link,
    }


def _name_of(repo: RepoFolder, page: SitePage) -> str:
    """Name a gallery without a title after its folder, unless that is a download, which is named by a hash."""
    folder = repo.path.resolve()
    return folder.name if page.is_own and folder.parent.name != "snapshots" else page.key


def _write_way(
    repo: RepoFolder, gallery: Gallery, folder: Path, *, sheets: dict[str, Any] | None, has_pictures: bool
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    detector = OutOfDistributionDetector.load(repo)
    probability = MatchProbability.load(repo)
    processor = ImageProcessor.load(repo)
    config = repo.json(CONFIG)
    models = {Path(name).name: content for name, content in onnx_files(repo).items() if name != ONNX_CLASSIFIER}
    for name, content in models.items():
        (folder / name).write_bytes(content)
    labels = sorted(set(gallery.labels))
    number_of = {label: number for number, label in enumerate(labels)}
    texts = {
        "file_names": gallery.file_names,
        "labels": [number_of[label] for label in gallery.labels],
        "columns": gallery.columns,
    }
    _write_json(folder / "texts.json", texts)
    parts = _write_embeddings(gallery.embeddings, folder)
    sizes = {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()}
    root = gallery.image_root if gallery.image_root.startswith(("https://", "http://")) else ""
    values = {
        "count": len(gallery.file_names),
        "width": int(gallery.embeddings.shape[1]),
        "labels": labels,
        "parts": parts,
        "texts_bytes": sizes["texts.json"],
        "bytes": sum(sizes.values()),
        "model": "model.onnx",
        "model_bytes": sizes["model.onnx"],
        "decoder": "decoder.onnx" if "decoder.onnx" in models else None,
        "processor": _processor(processor),
        "runtime_bytes": (folder.parent / "ort" / _RUNTIME_FILES[-1]).stat().st_size,
        "detector": _detector(detector, repo),
        "class_names": config.get("class_names"),
        "can_tell_reason": "" if detector.can_tell else "misses" if detector.can_reject else "too_few",
        "match_probability": asdict(probability) if probability else None,
        "image_root": root if root.endswith("/") or not root else f"{root}/",
        "has_pictures": has_pictures,
        "sheets": sheets,
    }
    _write_json(folder / "gallery.json", values)


def _write_embeddings(embeddings: npt.NDArray[np.float32], folder: Path) -> list[dict[str, Any]]:
    """Write the (N, D) embeddings as float16, little-endian, row by row; return the name and size of each part."""
    rows = max(1, _PART_BYTES // (2 * embeddings.shape[1]))
    parts = []
    for number, start in enumerate(range(0, len(embeddings), rows)):
        content = embeddings[start : start + rows].astype("<f2").tobytes()
        name = f"embeddings-{number:03d}.f16"
        (folder / name).write_bytes(content)
        parts.append({"file": name, "bytes": len(content)})
    return parts


def _processor(processor: ImageProcessor) -> dict[str, Any]:
    if not processor.antialias:
        raise ConfigurationError("A static page resizes with antialiasing only: this network's processor does not.")
    values = asdict(processor)
    return {**values, "flip": values.pop("do_flip_channel_order")}


def _detector(detector: OutOfDistributionDetector, repo: RepoFolder) -> dict[str, Any]:
    """Describe a detector; `alarms` is percent -> what was measured of its false alarms at that rate."""
    probe = detector.probe_weight
    figures = {figure.name: figure for figure in Metrics.read(repo).figures} if repo.has(METRICS) else {}
    alarms = {}
    for percent in {round(100 * detector.false_alarm_rate), round(20 * detector.false_alarm_rate)}:
        names = [f"{kind}_false_alarms_at_{percent}" for kind in ("wild", "ood")]
        if found := next((figures[name] for name in names if name in figures), None):
            alarms[str(percent)] = {"share": found.value / 100, "n": found.n}
    return {
        "weightings": {name: asdict(each) for name, each in detector.weightings.items()},
        "calibration_scores": [float(score) for score in detector.calibration_scores],
        "false_alarm_rate": detector.false_alarm_rate,
        "threshold": detector.threshold,
        "can_tell": detector.can_tell,
        "alarms": alarms,
        "probe_weight": None if probe is None else [float(weight) for weight in probe],
        "probe_bias": detector.probe_bias,
    }


def _write_sheets(
    repo: RepoFolder, names: Sequence[str], staged: Path, folder: str, *, progress: bool
) -> dict[str, Any]:
    """Draw every picture of a gallery from its code, a hundred on a sheet; return how a page finds one."""
    gallery, processor, network = Gallery.load(repo), ImageProcessor.load(repo), load_network(repo, backend="onnx")
    each, side = _SHEET_COLUMNS**2, processor.size
    (staged / folder).mkdir(parents=True)
    codes = np.stack([gallery.embedding(name) for name in names])  # (N, D)
    starts = range(0, len(names), each)
    for number, start in enumerate(tqdm(starts, desc="drawing tiles", unit="sheet", disable=not progress)):
        sheet = Image.new("RGB", (side * _SHEET_COLUMNS, side * -(-min(each, len(names) - start) // _SHEET_COLUMNS)))
        for at, drawn in enumerate(_drawn(network, processor, codes[start : start + each])):
            sheet.paste(Image.fromarray(drawn), ((at % _SHEET_COLUMNS) * side, at // _SHEET_COLUMNS * side))
        sheet.save(staged / folder / f"{number}.webp", quality=80, method=4)
    return {"folder": folder, "side": side, "columns": _SHEET_COLUMNS, "per_sheet": each}


def _drawn(
    network: Network, processor: ImageProcessor, codes: npt.NDArray[np.float32]
) -> Iterator[npt.NDArray[np.uint8]]:
    """Decode (n, D) codes: (S, S, 3) uint8 pictures, one after the other."""
    for start in range(0, len(codes), _AT_ONCE):
        for pixels in processor.denormalize(network.decode(codes[start : start + _AT_ONCE])):  # (3, S, S)
            yield np.ascontiguousarray(pixels.transpose(1, 2, 0))


def _write_pictures(root: str, names: Sequence[str], folder: Path, notes: list[str], *, progress: bool) -> bool:
    """Write a small copy of every picture that can be had, named by its index."""
    store = ImageStore(root, trusted=True)
    (folder / "pictures").mkdir(parents=True)
    missing = 0
    for index, name in enumerate(tqdm(names, desc="copying pictures", unit="picture", disable=not progress)):
        try:
            picture = decode_image(store.read(name))
        except VisimError:
            missing += 1
            continue
        picture.thumbnail((_TILE_SIDE, _TILE_SIDE))
        picture.save(folder / "pictures" / f"{index}.jpg", quality=85)
    if missing:
        notes.append(
            f"{missing:,} of {len(names):,} pictures cannot be had: their tiles are drawn or are placeholders."
        )
    return missing < len(names)


def _copy_runtime(staged: Path, runtime: Path) -> None:
    (staged / "ort").mkdir()
    for name in _RUNTIME_FILES:
        shutil.copyfile(runtime / name, staged / "ort" / name)


def _hosts(pages: Sequence[SitePage]) -> list[str]:
    """Return the hosts that the pictures of galleries come from, as a Content-Security-Policy names them."""
    roots = (urlsplit(Gallery.load(repo, sample=True).image_root) for page in pages for repo in page.ways.values())
    return sorted({f"{root.scheme}://{root.netloc}" for root in roots if root.scheme in ("http", "https")})


def _copy_assets(staged: Path, assets: Path, title: str, first: Mapping[str, Any], hosts: Sequence[str]) -> None:
    version = hashlib.sha256()
    for path in sorted(_files(staged)):
        version.update(f"{path.name} {path.stat().st_size}".encode() + path.read_bytes()[: 2**16])
    for path in sorted(assets.iterdir()):
        if path.suffix in {".js", ".css", ".html"} or path.name == "texts.json":
            shutil.copyfile(path, staged / path.name)
            version.update(path.read_bytes())
    worker = (
        (staged / "sw.js").read_text(encoding="utf-8").replace('"development"', json.dumps(version.hexdigest()[:16]))
    )
    (staged / "sw.js").write_text(worker, encoding="utf-8")
    words = first["description"] or "Find the pictures that look most like yours. Nothing is uploaded."
    tags = "".join(
        f'<meta property="og:{name}" content="{escape(text)}">'
        for name, text in (("title", title), ("description", words))
    )
    page = (staged / "index.html").read_text(encoding="utf-8")
    page = (
        page.replace("{{hosts}}", escape(" ".join(hosts)))
        .replace("<!--og-->", tags)
        .replace("<title>visim</title>", f"<title>{escape(title)}</title>")
    )
    (staged / "index.html").write_text(page, encoding="utf-8")


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(values, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")
