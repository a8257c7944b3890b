"""What the columns of metrics.jsonl are called in TensorBoard."""

from __future__ import annotations

TAGS = {
    "loss": "train/loss",
    "accuracy": "train/accuracy",
    "mae": "train/mae",
    "val_loss": "validation/loss",
    "val_accuracy": "validation/accuracy",
    "val_mae": "validation/mae",
    "learning_rate": "learning_rate",
    "examples_per_s": "examples_per_s",
}
