"""Evaluation: a split through a model, and pure functions of what comes out."""
