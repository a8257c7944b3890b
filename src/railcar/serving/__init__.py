"""Serving: from bytes to scores, as `railcar predict` and Python users need them."""
