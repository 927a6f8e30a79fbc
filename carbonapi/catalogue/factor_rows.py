"""Validation of one factor of a table."""

import datetime as dt
from typing import Any

import marshmallow as ma

from ..rest import Schema
from ..rest.fields import (
    DecimalInput,
    Name,
    Region,
    StrictBoolean,
    StrictInteger,
    Text,
    UtcDateTimeOrDate,
    start_of_day,
)
from .models import DEFAULT_METHOD, GWP_SETS, METHODS, SCOPES


class FactorRowSchema(Schema):
    """One factor of a table. A date means midnight UTC."""

    typed = False

    usage_type = Name(required=True, validate=ma.validate.Length(1, 200))
    unit = Name(required=True, validate=ma.validate.Length(1, 50))
    scope = StrictInteger(1, 3, load_default=None)
    category = Text(load_default=None, validate=ma.validate.OneOf(list(SCOPES)))
    outside_of_scopes = StrictBoolean(load_default=False)
    region = Region(load_default=None)
    method = Text(load_default=DEFAULT_METHOD, validate=ma.validate.OneOf(METHODS))
    valid_from = UtcDateTimeOrDate(required=True)
    valid_until = UtcDateTimeOrDate(load_default=None)
    kg_co2e_per_unit = DecimalInput(12, required=True, data_key="kg_co2e_per_unit", attribute="factor")
    co2_kg = DecimalInput(12, load_default=None)
    ch4_kg = DecimalInput(12, load_default=None)
    n2o_kg = DecimalInput(12, load_default=None)
    other_co2e_kg = DecimalInput(12, load_default=None)
    biogenic_co2_kg = DecimalInput(12, load_default=None)
    gwp = Text(load_default=None, validate=ma.validate.OneOf(GWP_SETS))
    source = Name(required=True, validate=ma.validate.Length(1, 500))
    citation = Name(load_default=None, validate=ma.validate.Length(1, 500))
    note = Text(load_default=None, validate=ma.validate.Length(max=2000))

    @ma.pre_load
    def remove_blank_cells(self, row: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """A blank cell means that the value was not published, never zero."""
        return {name: value for name, value in row.items() if value not in ("", None)}

    @ma.validates_schema
    def agree_with_scope(self, row: dict[str, Any], **kwargs: Any) -> None:
        category = row["category"]
        if category is not None and SCOPES[category] != row["scope"]:
            raise ma.ValidationError(f"{category} belongs to scope {SCOPES[category]}.", "category")
        if row["outside_of_scopes"] and row["scope"] is not None:
            raise ma.ValidationError("Must be false for a usage type with a scope.", "outside_of_scopes")

    @ma.post_load
    def set_midnight(self, row: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        for name in ("valid_from", "valid_until"):
            if row[name] is not None and not isinstance(row[name], dt.datetime):
                row[name] = start_of_day(row[name], "UTC")
        if row["valid_until"] is not None and row["valid_until"] <= row["valid_from"]:
            raise ma.ValidationError("Must be later than valid_from.", "valid_until")
        return row
