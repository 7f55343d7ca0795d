"""The figures that a model card states, each measured on pictures that neither training nor tuning saw.

`python -m visim_models.evaluation REPO --data DATA` prints them, `--write` keeps them as metrics.json in the repo
folder, `--check` measures again and compares. `figures.py` documents the form of metrics.json.
"""

from visim_models.evaluation.figures import Figure, Metrics
from visim_models.evaluation.run import evaluate

__all__ = ["Figure", "Metrics", "evaluate"]
