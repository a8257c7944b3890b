"""Runs: their folders, their checkpoints, and finding them."""
