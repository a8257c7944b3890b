"""Explanation: a model and an example -> why it answers so."""
