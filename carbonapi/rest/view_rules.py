"""Decorators that state the rules of a view. `Blueprint` reads them and builds the view's pipeline from them.

They change nothing by themselves, so their order does not matter. Write them below the blueprint's own decorator:

    @users.post(NewUserSchema, CreatedUserSchema)
    @requires(MANAGERS, api_key=False)
    @shown_once("invitation_token")
    def post(self, fields): ...
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import UnionType
from typing import Any, get_args

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ExcludeConstraint

from ..db import Model, OptimisticallyLocked
from ..errors import CarbonError
from ..rate_limiting.limits import RateLimit

View = Callable[..., Any]
Decorator = Callable[[View], View]
Roles = frozenset[str]


@dataclass(frozen=True, slots=True)
class ViewRules:
    """The rules that differ from the defaults of the HTTP method."""

    roles: Roles | None = None
    is_public: bool = False
    accepts_api_keys: bool = True
    limit: RateLimit | None = None
    counts: Callable[..., None] | None = None
    is_cacheable: bool = True
    secret: str | None = None
    is_single_statement: bool = False
    errors: tuple[type[CarbonError], ...] = ()


def rules_of(view: View) -> ViewRules:
    return getattr(view, "rules", ViewRules())


def _state(**rules: Any) -> Decorator:
    def add_rules(view: Any) -> View:
        view.rules = replace(rules_of(view), **rules)
        return view  # type: ignore[no-any-return]

    return add_rules


def requires(roles: Roles, *, api_key: bool = True) -> Decorator:
    """Allow these roles only. api_key: whether API keys are accepted."""
    return _state(roles=roles, accepts_api_keys=api_key)


def public(view: View) -> View:
    """Require no login."""
    return _state(is_public=True)(view)


def rate_limited(limit: RateLimit) -> Decorator:
    """Count requests under this limit instead of the method's usual one."""
    return _state(limit=limit)


def counted_by(count: Callable[..., None]) -> Decorator:
    """Count requests under a further limit that depends on the body. `count` gets the time, the fields and the path.

    It runs before the request's transaction, which counting would roll back.
    """
    return _state(counts=count)


def not_cached(view: View) -> View:
    """Let no cache store the response, because it contains tokens (RFC 6749, section 5.1)."""
    return _state(is_cacheable=False)(view)


def shown_once(field: str) -> Decorator:
    """Leave this secret field out of the stored response, so that a replay for an Idempotency-Key lacks it.

    No cache may store the response either.
    """
    return _state(secret=field, is_cacheable=False)


def single_statement(view: View) -> View:
    """Open no transaction: one statement does all the writing."""
    return _state(is_single_statement=True)(view)


def raises(*errors: type[CarbonError]) -> Decorator:
    """Document errors that do not follow from the other rules."""
    return _state(errors=errors)


def returned_model(view: View) -> type[Model] | None:
    """Return the model of the row that the view returns, according to its annotation. It may return something else."""
    annotation = view.__annotations__.get("return")
    choices = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    return next((model for model in choices if isinstance(model, type) and issubclass(model, Model)), None)


def has_etag(model: type[Model] | None) -> bool:
    return model is not None and issubclass(model, OptimisticallyLocked)


def can_conflict(model: type[Model] | None) -> bool:
    """Return whether a row can contradict another one: by a unique or exclusion rule beside the primary key."""
    if model is None:
        return False
    table: Any = model.__table__
    rules = [rule for rule in table.constraints if isinstance(rule, sa.UniqueConstraint | ExcludeConstraint)]
    rules += [index for index in table.indexes if index.unique]
    return any(not {*table.primary_key} <= {*rule.columns} for rule in rules)
