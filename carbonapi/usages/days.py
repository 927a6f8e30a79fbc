"""The days of the ledger, as they answer for usages: which of them hold exactly the usages that are asked for."""

from typing import Any

import sqlalchemy as sa

from ..access import current_actor
from ..catalogue.models import UsageType
from ..rest.query import Narrowing
from .models import UsageDay

# They see all usages of their organization, and of no other: so they see its days.
SEE_ALL = frozenset({"manager", "auditor"})
FILTERS = {
    "usage_type_id": lambda ids: UsageDay.usage_type_id.in_(ids),
    "scope": lambda scopes: UsageDay.usage_type_id.in_(sa.select(UsageType.id).where(UsageType.scope.in_(scopes))),
    "method": lambda methods: UsageDay.method.in_(methods),
    "restatement_id": lambda ids: UsageDay.restatement_id.in_(ids),
}
RANGE = {"start", "end"}


def days_of(narrow: Narrowing) -> sa.Select[Any] | None:
    """The days of the usages that `narrow` asks for, but for its range; None where days cannot tell these apart."""
    actor = current_actor()
    asked = narrow.criteria.keys() - RANGE
    if actor.role not in SEE_ALL or narrow.rewrites or not asked <= FILTERS.keys():
        return None
    criteria = (FILTERS[name](narrow.arguments[name]) for name in sorted(asked))
    return sa.select(UsageDay).where(UsageDay.organization_id == actor.organization_id, *criteria)
