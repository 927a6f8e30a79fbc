"""The API as a Postman collection: requests in the order one learns them, each with what its answer must be."""

from .collection import build_collection, pages

__all__ = ["build_collection", "pages"]
