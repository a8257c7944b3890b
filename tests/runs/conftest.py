"""The places of `tests/places.py`, for the tests of this room."""

from tests.places import bucket, clouds, google, google_endpoint, place, s3, s3_endpoint

__all__ = ["bucket", "clouds", "google", "google_endpoint", "place", "s3", "s3_endpoint"]
