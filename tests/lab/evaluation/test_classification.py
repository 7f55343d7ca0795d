"""Accuracy, the confusion matrix and the labels that are probably wrong, solved by hand."""

import pytest
import torch

from lab.data import ImageSet
from lab.evaluation.classification import accuracy, classification_tables
from visim_models import CAR_CLASSES


def test_accuracy_confusion_and_suspected_labels() -> None:
    probabilities = torch.tensor([[0.95, 0.05, 0, 0], [0.95, 0.05, 0, 0], [0.2, 0.6, 0.2, 0], [0, 0, 0.1, 0.9]])
    labels = ["sedan", "suv", "sedan", "truck"]
    names = ["a.png", "b.png", "c.png", "d.png"]
    images = ImageSet(names, labels, torch.zeros(4, 3, 1, 1, dtype=torch.uint8), list("abcd"))
    found = accuracy(probabilities, images.targets(CAR_CLASSES), pictures="cars", at_least=95.0, groups=[0, 1, 2, 3])
    assert found.value == pytest.approx(50)
    assert found.target == {"at_least": 95.0}
    tables = classification_tables(images, probabilities, CAR_CLASSES)
    assert tables["confusion"] == {
        "classes": ["sedan", "coupe", "suv", "truck"],
        "counts": [[1, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]],
    }
    assert tables["suspected_labels"] == [
        {"file_name": "b.png", "label": "suv", "predicted": "sedan", "probability": 0.95}
    ]
