"""Files, folders, downloads and decoded images. Knows nothing of recipes, models or runs."""
