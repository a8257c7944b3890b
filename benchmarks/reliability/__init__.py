"""Kills, full disks and damaged files: what is left of a training afterwards. `python -m benchmarks.reliability`."""
