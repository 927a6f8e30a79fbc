"""Sites, their ownership, and meters in requests and responses."""

from functools import partial
from typing import Any

import marshmallow as ma

from ..rest import (
    ExportQuerySchema,
    FilterSchema,
    ListQuerySchema,
    Schema,
    Sort,
    any_of,
    changes_of,
    equal_to,
    words_in,
)
from ..rest.fields import (
    CalendarDate,
    DecimalInput,
    ExactDecimal,
    Name,
    Region,
    StrictBoolean,
    StrictInteger,
    Text,
    UtcDateTime,
    optional,
    returned,
)
from .models import Meter, Site
from .tree import is_within

PARENT = "The site that it is part of. `null` for the top of a tree."
REGION = "Region of the emission factors. By default, that of the nearest site above it, or of the organization."
EXTERNAL_SITE = "Your own ID of the site, unique in your organization."
EXTERNAL_METER = "The ID of the meter outside of the service, such as an MPAN, an NMI or a usage point."
ARCHIVED = "Whether it is hidden and accepts no new usages."
SITE_ID = {"description": "The site where it is.", "example": 1}
PARENT_REFERENCE = "The site that it is part of, by `external_id` or `name`."

site_name = partial(Name, validate=ma.validate.Length(1, 200), metadata={"example": "Berlin"})
meter_name = partial(Name, validate=ma.validate.Length(1, 200), metadata={"example": "Main meter"})
external_id = partial(Name, validate=ma.validate.Length(1, 200))
archived = partial(StrictBoolean, metadata={"example": False, "description": ARCHIVED})


class SiteSchema(Schema):
    """A site: a place in the tree of an organization."""

    id = returned(ma.fields.Integer, 1)
    organization_id = returned(ma.fields.Integer, 1)
    name = returned(ma.fields.String, "Berlin")
    parent_id = returned(ma.fields.Integer, None, PARENT, nullable=True)
    region = returned(ma.fields.String, "DE", REGION, nullable=True)
    external_id = returned(ma.fields.String, "BER", EXTERNAL_SITE, nullable=True)
    archived = returned(ma.fields.Boolean, False, ARCHIVED)
    created_at = returned(UtcDateTime, "2026-01-31T12:00:00Z")


class NewSiteSchema(Schema):
    """A site to create."""

    name = site_name(required=True)
    parent_id = StrictInteger(load_default=None, allow_none=True, metadata={"description": PARENT, "example": None})
    region = optional(Region, description=REGION, example="DE")
    external_id = optional(Name, ma.validate.Length(1, 200), description=EXTERNAL_SITE, example="BER")
    archived = archived(load_default=False)


SiteChangesSchema = changes_of(NewSiteSchema, "Any of the fields of a site.")


class SiteFilter(FilterSchema):
    """Filters and order of sites."""

    q = words_in(Site.name, Site.external_id)
    parent_id = equal_to(Site.parent_id)
    external_id = equal_to(Site.external_id, Text())
    region = equal_to(Site.region, Region())
    archived = equal_to(Site.archived, StrictBoolean())
    organization_id = equal_to(Site.organization_id)
    sort = Sort(Site.id, Site.name, Site.external_id, Site.created_at, default="id")


class SiteQuery(ListQuerySchema, SiteFilter):
    """A page of sites."""


class SiteExportQuery(ExportQuerySchema, SiteFilter):
    """A file of sites."""


class SiteExportSchema(SiteSchema):
    """A line of an export of sites, which an import accepts."""

    parent = returned(
        ma.fields.String, None, "The `external_id` or, without one, the name of its parent.", nullable=True
    )


class SiteCellsSchema(Schema):
    """The cells of a line of a table of sites."""

    typed = False

    name = site_name(required=True)
    parent = external_id(allow_none=True, metadata={"description": PARENT_REFERENCE})
    region = Region(allow_none=True)
    external_id = external_id(allow_none=True)
    archived = archived()


class ShareSchema(Schema):
    """The share of ownership of a site in its parent from a day on, until the next such day."""

    valid_from = returned(CalendarDate, "2026-01-01")
    equity_share = returned(
        partial(DecimalInput, 6, validate=ma.validate.Range(0, 1)), 0.83, "From 0 to 1: 0.83 is 83 %."
    )
    financial_control = returned(StrictBoolean, True)
    operational_control = returned(StrictBoolean, True)


class ShownShareSchema(ShareSchema):
    """A share of ownership, as it is stored."""

    equity_share = returned(ExactDecimal, 0.83, "From 0 to 1.")


class OwnershipSchema(Schema):
    """All shares of ownership of a site, in any order."""

    shares = ma.fields.List(ma.fields.Nested(ShareSchema), required=True, validate=ma.validate.Length(max=1000))

    @ma.validates_schema
    def days_are_distinct(self, fields: dict[str, Any], **kwargs: Any) -> None:
        days = [share["valid_from"] for share in fields.get("shares", ())]
        if len(set(days)) < len(days):
            raise ma.ValidationError("Each day must have one share only.", "shares")


class ShownOwnershipSchema(Schema):
    """The shares of ownership of a site, in the order of their days."""

    shares = ma.fields.List(ma.fields.Nested(ShownShareSchema), required=True)


class MeterSchema(Schema):
    """A meter: what measures one usage type at a site."""

    id = returned(ma.fields.Integer, 1)
    organization_id = returned(ma.fields.Integer, 1)
    site_id = returned(ma.fields.Integer, 1, "The site of its later usages.")
    usage_type_id = returned(ma.fields.Integer, 100)
    name = returned(ma.fields.String, "Main meter")
    external_id = returned(ma.fields.String, "1900000000001", EXTERNAL_METER, nullable=True)
    valid_from = returned(UtcDateTime, None, "When it was installed.", nullable=True)
    valid_until = returned(UtcDateTime, None, "When it was removed, exclusive.", nullable=True)
    replaced_by_id = returned(ma.fields.Integer, None, "The meter that took its place.", nullable=True)
    archived = returned(ma.fields.Boolean, False, ARCHIVED)
    created_at = returned(UtcDateTime, "2026-01-31T12:00:00Z")


class NewMeterSchema(Schema):
    """A meter to create."""

    site_id = StrictInteger(required=True, metadata=SITE_ID)
    usage_type_id = StrictInteger(required=True, metadata={"example": 100})
    name = meter_name(required=True)
    external_id = optional(Name, ma.validate.Length(1, 200), description=EXTERNAL_METER, example="1900000000001")
    valid_from = optional(UtcDateTime, description="When it was installed.", example="2020-01-01T00:00:00Z")
    valid_until = optional(UtcDateTime, description="When it was removed, exclusive.", example=None)
    replaced_by_id = StrictInteger(
        load_default=None,
        allow_none=True,
        metadata={"description": "The meter that took its place, of the same usage type.", "example": None},
    )
    archived = archived(load_default=False)


MeterChangesSchema = changes_of(NewMeterSchema, "Any of the fields of a meter.")


class MeterFilter(FilterSchema):
    """Filters and order of meters."""

    q = words_in(Meter.name, Meter.external_id)
    site_id = any_of(
        lambda ids: is_within(Meter, ids), StrictInteger(), "Return only meters of this site and of the sites below it."
    )
    usage_type_id = equal_to(Meter.usage_type_id)
    external_id = equal_to(Meter.external_id, Text())
    archived = equal_to(Meter.archived, StrictBoolean())
    organization_id = equal_to(Meter.organization_id)
    sort = Sort(Meter.id, Meter.name, Meter.external_id, Meter.created_at, default="id")


class MeterQuery(ListQuerySchema, MeterFilter):
    """A page of meters."""


class MeterExportQuery(ExportQuerySchema, MeterFilter):
    """A file of meters."""


class MeterExportSchema(MeterSchema):
    """A line of an export of meters, which an import accepts."""

    site = returned(ma.fields.String, "BER", "The `external_id` or, without one, the name of its site.")
    usage_type = returned(ma.fields.String, "electricity", "The name of its usage type.")
    replaced_by = returned(
        ma.fields.String,
        None,
        "The `external_id` or, without one, the name of the meter that took its place.",
        nullable=True,
    )


class MeterCellsSchema(Schema):
    """The cells of a line of a table of meters."""

    typed = False

    name = meter_name(required=True)
    site = external_id(required=True)
    usage_type_id = StrictInteger(allow_none=True)
    usage_type = Name(allow_none=True)
    external_id = external_id(allow_none=True)
    valid_from = UtcDateTime(allow_none=True)
    valid_until = UtcDateTime(allow_none=True)
    replaced_by = Name(allow_none=True)
    archived = archived()


class ImportCountsSchema(Schema):
    """The outcome of an import of sites or meters."""

    added_count = returned(ma.fields.Integer, 1, "New rows.")
    changed_count = returned(ma.fields.Integer, 0, "Existing rows with another value in the file.")
    unchanged_count = returned(ma.fields.Integer, 0, "Existing rows with the same values.")


class SitesOfUserSchema(Schema):
    """The sites of a user, each with all sites below it."""

    site_ids = ma.fields.List(
        StrictInteger(),
        required=True,
        validate=ma.validate.Length(max=1000),
        metadata={"description": "Empty for a user of the whole organization.", "example": [1]},
    )
