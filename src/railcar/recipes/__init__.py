"""Bundled recipes, found by name."""
