"""The recipe: what a run is told. See `schema.py`."""
