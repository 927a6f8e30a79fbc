"""Wire format of verifications."""

import marshmallow as ma

from ..rest import Schema


class VerificationSchema(Schema):
    """The result of verifying an export."""

    lines = ma.fields.Integer(required=True, metadata={"example": 1, "description": "Number of lines in the file."})
    reproduced = ma.fields.Integer(
        required=True, metadata={"example": 0, "description": "Lines whose values could all be reproduced."}
    )
    differing = ma.fields.Integer(required=True, metadata={"example": 1, "description": "Lines with errors."})
    sha256 = ma.fields.String(
        required=True,
        metadata={
            "description": "SHA-256 of the file.",
            "example": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        },
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
