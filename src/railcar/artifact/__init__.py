"""The artifact: what evaluate, predict, export and serve read of a run."""
