"""Serialization of files for schemathesis."""

import schemathesis

# Files of NDJSON are sent as they are.
schemathesis.serializer.alias("application/x-ndjson", "text/plain")
