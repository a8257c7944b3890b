"""The workflows: what a command does, step by step, with the rooms below wired together. `api.py` is their face."""
