"""Exporting: an artifact in the forms that other runtimes load, each checked against the artifact's samples."""
