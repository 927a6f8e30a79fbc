"""Organizations, users and sessions in requests and responses."""

from decimal import Decimal
from typing import Any

import marshmallow as ma

from ..auth import ROLES
from ..rest import ListQuerySchema, Schema, Sort, equal_to
from ..rest.fields import (
    DecimalInput,
    Email,
    ExactDecimal,
    Name,
    Region,
    StrictBoolean,
    StrictInteger,
    Text,
    TimeZoneName,
    UtcDateTime,
    returned,
)
from .models import (
    BY_DAYS,
    DEFAULT_SIGNIFICANCE_THRESHOLD,
    DEFAULT_TIMEZONE,
    FACTOR_SPLITS,
    MISSING_FACTORS,
    REJECT,
    Organization,
    Session,
    User,
)
from .passwords import MAX_LENGTH, MIN_LENGTH

TOKEN = "carbonapi-password_1_2_q3nJQk1v0WbZ7mJ8p2Yx5cT4rL6sD9fG0hA1eUoIiNwd60e2f5b"


def email(example: str = "ada@example.org") -> Email:
    return Email(required=True, validate=ma.validate.Length(max=254), metadata={"example": example})


def person(example: str = "Ada Lovelace") -> Name:
    return Name(required=True, validate=ma.validate.Length(1, 200), metadata={"example": example})


def password(example: str = "unrelated words make good ones", *, required: bool = True) -> Text:
    return Text(
        required=required,
        validate=ma.validate.Length(MIN_LENGTH, MAX_LENGTH),
        metadata={
            "format": "password",
            "example": example,
            "description": f"{MIN_LENGTH} to {MAX_LENGTH} characters, not easy to guess.",
        },
    )


def current_password(*, required: bool = True, **metadata: str) -> Text:
    return Text(
        required=required,
        validate=ma.validate.Length(1, MAX_LENGTH),
        metadata={"format": "password", "example": "unrelated words make good ones", **metadata},
    )


def role() -> Text:
    return Text(required=True, validate=ma.validate.OneOf(ROLES), metadata={"example": "member"})


def threshold(**kwargs: Any) -> DecimalInput:
    return DecimalInput(
        2,
        validate=ma.validate.Range(max=Decimal(100)),
        metadata={"example": 5, "description": "Percentage from which a restatement is significant."},
        **kwargs,
    )


def factor_split(**kwargs: Any) -> Text:
    return Text(
        validate=ma.validate.OneOf(FACTOR_SPLITS),
        metadata={
            "example": BY_DAYS,
            "description": "Emission factors of an interval, such as a bill, over which they change: `days` divides it "
            "by local days, each with its own factors; `start` takes those of its start for all of it.",
        },
        **kwargs,
    )


def missing_factor(**kwargs: Any) -> Text:
    return Text(
        validate=ma.validate.OneOf(MISSING_FACTORS),
        metadata={
            "example": REJECT,
            "description": "Answer to a usage at a time without an emission factor: `refuse` is a 422; `latest` "
            "records it with the latest factor that has ended, marked `provisional`. When the factor of its time is "
            "there, a restatement applies it.",
        },
        **kwargs,
    )


class RegistrationSchema(Schema):
    """A new organization and its first manager."""

    email = email()
    password = password()
    name = person()
    organization = Name(validate=ma.validate.Length(1, 200), metadata={"example": "Analytical Engines"})


class CredentialsSchema(Schema):
    """The credentials for a login."""

    email = Text(required=True, validate=ma.validate.Length(1, 254), metadata={"example": "ada@example.org"})
    password = current_password()


class TokensSchema(Schema):
    """An access token for requests, and a refresh token to get the next pair, which can be used once."""

    access_token = returned(ma.fields.String, "header.claims.signature")
    refresh_token = returned(ma.fields.String, "header.claims.signature")
    token_type = returned(ma.fields.String, "Bearer")
    expires_in = returned(ma.fields.Integer, 900, "Lifetime of the access token in seconds.")


class SessionSchema(Schema):
    """One login, with the tokens that descend from it."""

    id = returned(ma.fields.Integer, 1)
    started_at = returned(UtcDateTime, "2026-01-31T12:00:00Z", "Login time.")
    refreshed_at = returned(UtcDateTime, "2026-02-01T08:00:00Z", "Time of the last refresh.")
    expires_at = returned(UtcDateTime, "2026-03-03T08:00:00Z", "When it ends, unless refreshed.")
    current = returned(ma.fields.Boolean, True, "Whether your token belongs to this session.")


class SessionQuery(ListQuerySchema):
    sort = Sort(Session.started_at, Session.refreshed_at, Session.expires_at, Session.id, default="-started_at")


class PasswordChangeSchema(Schema):
    """The current password and the new one."""

    current_password = current_password()
    new_password = password("quite other words for a change")


class UserSchema(Schema):
    """A person who can log in."""

    id = returned(ma.fields.Integer, 1)
    organization_id = returned(ma.fields.Integer, 1)
    email = returned(ma.fields.String, "ada@example.org")
    name = returned(ma.fields.String, "Ada Lovelace")
    role = ma.fields.String(required=True, metadata={"enum": list(ROLES), "example": "member"})
    active = returned(ma.fields.Boolean, True, "Whether they can log in.")
    created_at = returned(UtcDateTime, "2026-01-31T12:00:00Z")


class ProfileChangesSchema(Schema):
    """The fields that a user may change of their own account."""

    email = email()
    name = person()
    current_password = current_password(required=False, description="Required to change the e-mail address.")


class UserReplacementSchema(Schema):
    """All fields of a user that can be set."""

    email = email("grace@example.org")
    name = person("Grace Hopper")
    role = role()
    active = StrictBoolean(load_default=True, metadata={"example": True})


class UserChangesSchema(UserReplacementSchema):
    """Any of the fields of a user."""

    active = StrictBoolean(metadata={"example": True})


class NewUserSchema(Schema):
    """A new user of an organization. Without a password, they are invited to set one."""

    email = email("grace@example.org")
    name = person("Grace Hopper")
    role = role()
    password = password(required=False)
    organization_id = StrictInteger(metadata={"description": "Default: your own. Only an admin may name another."})


class CreatedUserSchema(UserSchema):
    """A new user, and the token of one who was invited."""

    invitation_token = ma.fields.String(
        metadata={
            "example": TOKEN,
            "description": "For `/auth/accept`. Returned only once, and only if the service sends no mail.",
        }
    )
    invitation_expires_at = UtcDateTime(metadata={"example": "2026-02-01T12:00:00Z", "description": "Token expiry."})


class PasswordTokenSchema(Schema):
    """A token to set a password without the current one."""

    token = ma.fields.String(
        metadata={"example": TOKEN, "description": "For `/auth/accept`. Returned once, if the service sends no mail."}
    )
    expires_at = returned(UtcDateTime, "2026-02-01T12:00:00Z")


class PasswordTokenAcceptanceSchema(Schema):
    """The token of an invitation or a password reset, and the new password."""

    token = Text(required=True, validate=ma.validate.Length(1, 200), metadata={"example": TOKEN})
    password = password()


class UserQuery(ListQuerySchema):
    role = equal_to(User.role, Text(validate=ma.validate.OneOf(ROLES)))
    organization_id = equal_to(User.organization_id)
    active = equal_to(User.active, StrictBoolean())
    sort = Sort(User.id, User.email, User.name, User.created_at, default="id")


class NewOrganizationSchema(Schema):
    """An organization and its settings."""

    name = Name(required=True, validate=ma.validate.Length(1, 200), metadata={"example": "Analytical Engines"})
    timezone = TimeZoneName(
        load_default=DEFAULT_TIMEZONE,
        metadata={"example": "Europe/London", "description": "IANA name. It defines the days of reports."},
    )
    region = Region(
        load_default=None,
        allow_none=True,
        metadata={"example": "GB", "description": "Its emission factors apply to usages without a region."},
    )
    significance_threshold = threshold(load_default=DEFAULT_SIGNIFICANCE_THRESHOLD)
    factor_split = factor_split(load_default=BY_DAYS)
    missing_factor = missing_factor(load_default=REJECT)


class OrganizationChangesSchema(NewOrganizationSchema):
    """Any of the fields of an organization."""

    timezone = TimeZoneName(metadata={"example": "Europe/London"})
    region = Region(allow_none=True, metadata={"example": "GB"})
    significance_threshold = threshold()
    factor_split = factor_split()
    missing_factor = missing_factor()


class OrganizationSchema(Schema):
    """A customer, which owns users and a ledger."""

    id = returned(ma.fields.Integer, 1)
    name = returned(ma.fields.String, "Analytical Engines")
    timezone = returned(ma.fields.String, "Europe/London")
    region = returned(ma.fields.String, "GB", nullable=True)
    significance_threshold = returned(ExactDecimal, 5, "Percentage.")
    factor_split = returned(ma.fields.String, BY_DAYS, enum=list(FACTOR_SPLITS))
    missing_factor = returned(ma.fields.String, REJECT, enum=list(MISSING_FACTORS))
    created_at = returned(UtcDateTime, "2026-01-31T12:00:00Z")


class OrganizationQuery(ListQuerySchema):
    sort = Sort(Organization.id, Organization.name, Organization.created_at, default="id")
