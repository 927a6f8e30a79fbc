"""What accounts look like on the wire."""

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
)
from .models import Organization, Session, User
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
        metadata={"format": "password", "example": example, "description": "12 to 128 characters, not a common one."},
    )


def role() -> Text:
    return Text(required=True, validate=ma.validate.OneOf(ROLES), metadata={"example": "member"})


def threshold(**kwargs: Any) -> DecimalInput:
    return DecimalInput(
        2,
        validate=ma.validate.Range(max=Decimal(100)),
        metadata={"example": 5, "description": "From how many per cent on a restatement counts as significant."},
        **kwargs,
    )


class RegistrationSchema(Schema):
    """A new organization and its first manager."""

    email = email()
    password = password()
    name = person()
    organization = Name(validate=ma.validate.Length(1, 200), metadata={"example": "Analytical Engines"})


class CredentialsSchema(Schema):
    """What somebody signs in with."""

    email = Text(required=True, validate=ma.validate.Length(1, 254), metadata={"example": "ada@example.org"})
    password = Text(
        required=True,
        validate=ma.validate.Length(1, MAX_LENGTH),
        metadata={"format": "password", "example": "unrelated words make good ones"},
    )


class TokensSchema(Schema):
    """A pair of tokens: the access token signs requests, the refresh token gets the next pair, once."""

    access_token = ma.fields.String(required=True, metadata={"example": "header.claims.signature"})
    refresh_token = ma.fields.String(required=True, metadata={"example": "header.claims.signature"})
    token_type = ma.fields.String(required=True, metadata={"example": "Bearer"})
    expires_in = ma.fields.Integer(
        required=True, metadata={"example": 900, "description": "Seconds for which the access token is good."}
    )


class SessionSchema(Schema):
    """One log-in, with the tokens that came of it."""

    id = ma.fields.Integer(required=True, metadata={"example": 1})
    started_at = UtcDateTime(required=True, metadata={"example": "2026-01-31T12:00:00Z", "description": "The log-in."})
    refreshed_at = UtcDateTime(
        required=True, metadata={"example": "2026-02-01T08:00:00Z", "description": "When its tokens were made."}
    )
    expires_at = UtcDateTime(
        required=True, metadata={"example": "2026-03-03T08:00:00Z", "description": "When it is over, unless refreshed."}
    )
    current = ma.fields.Boolean(
        required=True, metadata={"example": True, "description": "Whether it is the one in which you ask."}
    )


class SessionQuery(ListQuerySchema):
    sort = Sort(Session.started_at, Session.refreshed_at, Session.expires_at, Session.id, default="-started_at")


class PasswordChangeSchema(Schema):
    """The current password and the new one."""

    current_password = Text(
        required=True,
        validate=ma.validate.Length(1, MAX_LENGTH),
        metadata={"format": "password", "example": "unrelated words make good ones"},
    )
    new_password = password("quite other words for a change")


class UserSchema(Schema):
    """A person who signs in."""

    id = ma.fields.Integer(required=True, metadata={"example": 1})
    organization_id = ma.fields.Integer(required=True, metadata={"example": 1})
    email = ma.fields.String(required=True, metadata={"example": "ada@example.org"})
    name = ma.fields.String(required=True, metadata={"example": "Ada Lovelace"})
    role = ma.fields.String(required=True, metadata={"enum": list(ROLES), "example": "member"})
    active = ma.fields.Boolean(required=True, metadata={"example": True, "description": "Whether they may sign in."})
    created_at = UtcDateTime(required=True, metadata={"example": "2026-01-31T12:00:00Z"})


class ProfileChangesSchema(Schema):
    """What one may change of oneself."""

    email = email()
    name = person()


class UserReplacementSchema(Schema):
    """The whole of what can be set of a user."""

    email = email("grace@example.org")
    name = person("Grace Hopper")
    role = role()
    active = StrictBoolean(load_default=True, metadata={"example": True})


class UserChangesSchema(UserReplacementSchema):
    """Any of the fields of a user."""

    active = StrictBoolean(metadata={"example": True})


class NewUserSchema(Schema):
    """A new user of an organization; without a password they are invited to set one."""

    email = email("grace@example.org")
    name = person("Grace Hopper")
    role = role()
    password = password(required=False)
    organization_id = StrictInteger(metadata={"description": "Your own by default; only an admin may name another."})


class CreatedUserSchema(UserSchema):
    """A user who has been added; and of one who has been invited, with what."""

    invitation_token = ma.fields.String(
        metadata={
            "example": TOKEN,
            "description": "For `/auth/accept`. Shown this once, and only to who invites without mail.",
        }
    )
    invitation_expires_at = UtcDateTime(metadata={"example": "2026-02-01T12:00:00Z", "description": "Of the token."})


class PasswordTokenSchema(Schema):
    """What a password is set with by who has none, or has lost it."""

    token = ma.fields.String(
        metadata={"example": TOKEN, "description": "For `/auth/accept`. Shown this once, and only if no mail is sent."}
    )
    expires_at = UtcDateTime(required=True, metadata={"example": "2026-02-01T12:00:00Z"})


class PasswordTokenAcceptanceSchema(Schema):
    """The token of an invitation or a reset, and the password to be."""

    token = Text(required=True, validate=ma.validate.Length(1, 200), metadata={"example": TOKEN})
    password = password()


class UserQuery(ListQuerySchema):
    role = equal_to(User.role, Text(validate=ma.validate.OneOf(ROLES)))
    organization_id = equal_to(User.organization_id)
    active = equal_to(User.active, StrictBoolean())
    sort = Sort(User.id, User.email, User.name, User.created_at, default="id")


class NewOrganizationSchema(Schema):
    """A customer's name, and what a day means in its reports."""

    name = Name(required=True, validate=ma.validate.Length(1, 200), metadata={"example": "Analytical Engines"})
    timezone = TimeZoneName(
        load_default="UTC",
        metadata={"example": "Europe/London", "description": "IANA name: what a day means in the reports."},
    )
    region = Region(
        load_default=None,
        allow_none=True,
        metadata={"example": "GB", "description": "Whose emission factors apply where a usage names no region."},
    )
    significance_threshold = threshold(load_default=Decimal(5))


class OrganizationChangesSchema(NewOrganizationSchema):
    """Any of the fields of an organization."""

    timezone = TimeZoneName(metadata={"example": "Europe/London"})
    region = Region(allow_none=True, metadata={"example": "GB"})
    significance_threshold = threshold()


class OrganizationSchema(Schema):
    """A customer: the owner of users and of a ledger."""

    id = ma.fields.Integer(required=True, metadata={"example": 1})
    name = ma.fields.String(required=True, metadata={"example": "Analytical Engines"})
    timezone = ma.fields.String(required=True, metadata={"example": "Europe/London"})
    region = ma.fields.String(required=True, allow_none=True, metadata={"example": "GB"})
    significance_threshold = ExactDecimal(required=True, metadata={"example": 5, "description": "In per cent."})
    created_at = UtcDateTime(required=True, metadata={"example": "2026-01-31T12:00:00Z"})


class OrganizationQuery(ListQuerySchema):
    sort = Sort(Organization.id, Organization.name, Organization.created_at, default="id")
