"""The API as a Postman collection: requests in the order of a tutorial, each with checks of its response."""

from .collection import build_collection, pages

__all__ = ["build_collection", "pages"]
