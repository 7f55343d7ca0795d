"""Training: data sets, splits, recipes, the two objectives, the loop, and `python -m lab.train`."""
