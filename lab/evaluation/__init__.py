"""The figures that a model card states, each measured on pictures that neither training nor tuning saw.

`python -m lab.evaluate REPO --data DATA` prints them, `--write` keeps them as metrics.json in the repo
folder, `--check` measures again and compares. `figures.py` documents the form of metrics.json.
"""

from lab.evaluation.run import evaluate
from visim_models.metrics import Figure, Metrics

__all__ = ["Figure", "Metrics", "evaluate"]
