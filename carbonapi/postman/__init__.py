"""The API as a Postman collection: requests in the order one learns them, each with what its answer must be."""

from .collection import collection_of, pages

__all__ = ["collection_of", "pages"]
