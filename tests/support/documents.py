"""Parts of the OpenAPI document."""


def examples_of(content):
    """Return the examples of a body: one, or that of an object and that of an array."""
    if "example" in content:
        return [content["example"]]
    return [example["value"] for example in content["examples"].values()]


def object_schema(schema):
    """Return the schema of an object if a body can also be an array."""
    return schema["oneOf"][0] if "oneOf" in schema else schema


def takes_array(schema):
    """Return whether a body can be an array in place of an object."""
    return any(choice.get("type") == "array" for choice in schema.get("oneOf", ()))
