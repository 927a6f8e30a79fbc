"""How schemathesis sends files."""

import schemathesis

# A file of NDJSON is sent as the text that it is.
schemathesis.serializer.alias("application/x-ndjson", "text/plain")
