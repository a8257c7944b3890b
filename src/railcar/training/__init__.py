"""Training: `loop.py` is the file to read."""
