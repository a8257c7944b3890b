"""Reporting: numbers and plots, for eyes."""
