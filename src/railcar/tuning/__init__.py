"""Searching for a better recipe."""
