"""Wire format of verifications."""

import marshmallow as ma

from ..rest import Schema
from ..rest.fields import returned


class VerificationSchema(Schema):
    """The result of verifying an export."""

    lines = returned(ma.fields.Integer, 1, "Number of lines in the file.")
    reproduced = returned(ma.fields.Integer, 0, "Lines whose values could all be reproduced.")
    differing = returned(ma.fields.Integer, 1, "Lines with errors.")
    sha256 = returned(
        ma.fields.String, "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "SHA-256 of the file."
    )
    errors = ma.fields.Dict(
        keys=ma.fields.String(),
        values=ma.fields.List(ma.fields.String()),
        required=True,
        metadata={
            "description": "Errors of the first 100 such lines. The header of a CSV file is line 1.",
            "example": {"2": ["co2e_kg: the file has 18.76; the ledger has 18.75 in version 1."]},
        },
    )
