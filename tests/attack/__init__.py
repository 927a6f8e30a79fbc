"""`make attack`: the running service attacked through HTTP alone, by requests that its OpenAPI document calls for."""
