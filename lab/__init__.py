"""How the shipped weights and figures were made: data, splits, recipes, training, fitting and evaluation."""
