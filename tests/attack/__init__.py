"""`make attack`: attacks on a running service over HTTP, derived from its OpenAPI document."""
