"""Keras layers of ours: all that a saved model needs to be loaded again, and nothing of training."""
