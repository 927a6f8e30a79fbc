"""Imports over the API."""


def post(client, file, query="?usage_type_id=100", content_type="text/csv"):
    return client.post(f"/imports{query}", data=file, content_type=content_type)
