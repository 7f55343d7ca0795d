"""The figures that a model card states, each measured on pictures that neither training nor tuning saw.

`python -m lab.evaluate` is the command. `evaluation.py` says what is measured, `figures.py` how far a figure may move,
`visim_models/repo_folder/metrics.py` the form in which figures are kept.
"""

from lab.evaluation.evaluation import evaluate

__all__ = ["evaluate"]
