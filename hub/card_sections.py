"""The sections of a model card, besides its figures: each is written from `CardFacts`, and empty without any."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from hub.card_facts import CardFacts
from hub.card_figures import markdown_table
from visim_models import CarClassifier, CarFeatureExtractor

__all__ = ["introduction", "limits", "origin", "training", "use"]

_LABELS_SHOWN: Final = 20


def introduction(facts: CardFacts) -> str:
    """Return the heading, what the repo is, and what it is for."""
    texts = facts.texts
    parts = [
        f"# {_line(texts.title or facts.gallery_title or facts.name)}",
        texts.summary or _network(facts),
        facts.gallery_description,
        _gallery(facts),
        _listed("It is for", texts.purpose),
        _listed("It is not for", texts.misuse),
    ]
    return "\n\n".join(part for part in parts if part)


def use(facts: CardFacts, *, address: str) -> str:
    """Return how to install the library and to search with the repo.

    Args:
        facts: of the repo.
        address: of visim's own repository, for pip.
    """
    return f"""## Use

The library `visim-models` is installed from a checkout of visim, or from the address of its repository:

```sh
pip install ./visim  # the folder of the checkout
pip install git+{address}
```

```python
from visim_models import VisualSimilarity

similarity = VisualSimilarity.from_pretrained("namespace/{facts.name}")  # or the path of a folder with these files
result = similarity.search("photo.jpg", top_k=4)
print(result.matches, result.ood)
```"""


def training(facts: CardFacts) -> str:
    """Return what the weights were trained by, as training.json says it."""
    record = facts.training
    if not record:
        return "## Training\n\nThe repo does not say how its weights were trained."
    parts = ["## Training", _run(record)]
    if command := record.get("command"):
        parts.append(f"```sh\n{command}\n```")
    parts += [_sources(record.get("sources", [])), _outliers(record.get("outliers", []))]
    settings = [f"{name} {value}" for name, value in _settings(record.get("settings", {}))]
    if settings:
        parts.append(f"Settings: {', '.join(settings)}.")
    return "\n\n".join(part for part in parts if part)


def limits(facts: CardFacts) -> str:
    """Return what users should know: of the repo, of the percentage, and of the verdict."""
    detector = facts.similarity.ood
    similarity = (
        "A search finds pictures of the gallery alone, and the percentage is a cosine of embeddings, not a probability."
    )
    size = len(detector.calibration_scores)
    if detector.threshold is not None:
        verdict = "The verdict is a fixed threshold: its rate of false alarms is unknown."
    elif not detector.can_reject:
        verdict = f"There is no verdict: {size:,} calibration pictures are too few for it."
    else:
        verdict = (
            f"The verdict is set for {100 * detector.false_alarm_rate:g} % false alarms, by {size:,} calibration "
            "pictures. On pictures of another source the rate is another one."
        )
    return _listed("## Limits\n", [*facts.texts.limits, similarity, verdict])


def origin(facts: CardFacts) -> str:
    """Return the licence and the sources, where they are named."""
    texts = facts.texts
    parts = [f"Licence of the weights: {texts.license}."] if texts.license else []
    if texts.origin:
        parts.append(_points(texts.origin))
    title = "Licence and origin" if texts.license else "Origin"
    return "\n\n".join([f"## {title}", *parts]) if parts else ""


def _network(facts: CardFacts) -> str:
    model = facts.similarity.model
    size = model.image_size
    text = (
        f"A network of the type `{model.model_type}`. It turns a picture, resized to {size} x {size} pixels, into an "
        f"embedding of {model.embedding_dim:,} numbers; pictures are compared by the cosine of their embeddings."
    )
    if isinstance(model, CarClassifier | CarFeatureExtractor):
        text += f" It tells these classes: {', '.join(map(_line, model.class_names))}."
    return text


def _gallery(facts: CardFacts) -> str:
    counts = facts.label_counts
    total = len(facts.similarity.gallery)
    text = f"The gallery has {total:,} picture{'s' if total > 1 else ''}"
    named = {label: count for label, count in counts.items() if label}
    if named:
        shown = [f"{_line(label)} ({count:,})" for label, count in list(named.items())[:_LABELS_SHOWN]]
        more = f" and {len(named) - len(shown):,} more" if len(named) > len(shown) else ""
        text += f" with {len(named):,} label{'s' if len(named) > 1 else ''}: {', '.join(shown)}{more}"
    return f"{text}. The repo holds their embeddings and file names, not the pictures."


def _run(record: Mapping[str, Any]) -> str:
    stated = [
        f"recipe `{record['recipe']}`" if record.get("recipe") else "",
        f"task {_line(record['task'])}" if record.get("task") else "",
        f"{record['epochs']} epochs" if "epochs" in record else "",
        f"seed {record['seed']}" if "seed" in record else "",
    ]
    text = ", ".join(part for part in stated if part)
    if not text:
        return ""
    text = f"{text[0].upper()}{text[1:]}."
    limit = record.get("limit")
    return f"{text} A trial on at most {limit} pictures of each source." if limit else text


def _sources(rows: Sequence[Mapping[str, Any]]) -> str:
    cells = [
        (_line(row["source"]), _count(row.get("pictures")), _counts(row.get("classes")), _counts(row.get("parts")))
        for row in rows
    ]
    return markdown_table(("trained on", "pictures", "classes", "parts"), cells) if cells else ""


def _outliers(rows: Sequence[Mapping[str, Any]]) -> str:
    cells = [(_line(row["source"]), _line(row.get("part", "-")), _count(row.get("pictures"))) for row in rows]
    return markdown_table(("pictures of other things", "for", "pictures"), cells) if cells else ""


def _settings(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    """Yield the plain settings, those of groups with the group's name in front."""
    for key, value in values.items():
        name = f"{prefix}{key}".replace("_", " ")
        if isinstance(value, Mapping):
            yield from _settings(value, f"{name} ")
        elif isinstance(value, bool):
            yield name, "yes" if value else "no"
        elif isinstance(value, int | float):
            yield name, f"{value:.4g}"
        elif isinstance(value, list) and value and all(isinstance(each, int | float) for each in value):
            yield name, "/".join(f"{each:.4g}" for each in value)
        elif isinstance(value, str):
            yield name, _line(value)


def _counts(values: object) -> str:
    if not isinstance(values, Mapping) or not values:
        return "-"
    shown = [f"{_line(name)} {_count(count)}" for name, count in list(values.items())[:_LABELS_SHOWN]]
    more = [f"and {len(values) - len(shown):,} more"] if len(values) > len(shown) else []
    return ", ".join([*shown, *more])


def _count(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else "-"


def _listed(heading: str, points: Sequence[str]) -> str:
    return f"{heading}\n{_points(points)}" if points else ""


def _points(points: Sequence[str]) -> str:
    return "\n".join(f"* {point}" for point in points)


def _line(text: object) -> str:
    """Return a name that somebody chose as one line that cannot become markup."""
    return " ".join(str(text).split()).replace("<", "&lt;").replace("`", "'")
