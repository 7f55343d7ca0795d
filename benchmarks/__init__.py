"""Measure what visim takes in time and memory, against named baselines in the same run: `python -m benchmarks`."""
