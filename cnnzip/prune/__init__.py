"""Pruning: which weights, units and channels a model can do without."""
