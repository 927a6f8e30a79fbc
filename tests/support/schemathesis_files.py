"""Serialization of files for schemathesis."""

import schemathesis

# Files of NDJSON and XLSX are sent as they are.
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
schemathesis.serializer.alias(["application/x-ndjson", XLSX], "text/plain")
