"""Lines about usages that the ledger has already: refused, passed over, or booked as corrections."""

from typing import Any

import sqlalchemy as sa

from ...auth import scope_criteria
from ...catalogue.models import UsageType
from ...db import count_affected, db
from ...usages import candidates
from ...usages.models import Usage
from ..staging import GOOD, STAGED, Row, add_duplicate_error, add_error

ON_CONFLICT = ("reject", "skip", "replace")
_BY_TIME = (Usage.user_id == Row.user_id, Usage.usage_type_id == Row.usage_type_id, Usage.usage_at == Row.usage_at)


def reject_existing(organization_id: int) -> int:
    """Let lines whose external_id another usage has have that as a fault. Gives how many there are."""
    known = sa.exists().where(Usage.organization_id == organization_id, Usage.external_id == Row.external_id)
    message = sa.literal("'").concat(Row.external_id).concat("' is in the ledger already.")
    return add_error("external_id", Row.external_id, message, Row.usage_id.is_(None), known)


def match_existing(organization_id: int, on_conflict: str) -> int:
    """Find the usage that each line is about: that of its external_id; without one, of its user, type and time.

    Gives how many lines have a fault by that: the usage of an external_id that the actor may not see, and lines that
    could be about several.
    """
    without = Row.external_id.is_(None)
    faulty = add_duplicate_error("usage_at", Row.usage_at, [Row.user_id, Row.usage_type_id, Row.usage_at], without)
    theirs = (Usage.organization_id == organization_id, *scope_criteria(Usage))
    by_id = sa.update(STAGED).where(GOOD, *theirs, Usage.external_id == Row.external_id)
    db.session.execute(by_id.values(usage_id=Usage.id))
    count = sa.func.count().label("count")
    found = sa.select(Row.place, sa.func.min(Usage.id).label("usage_id"), count).where(GOOD, without, *theirs)
    found_by_time = found.where(Usage.external_id.is_(None), *_BY_TIME).group_by(Row.place).subquery("found")
    if on_conflict == "replace":
        several = sa.func.format(
            "The ledger has %s usages of this user, usage type and time and no external_id: correct them one by one.",
            found_by_time.c.count,
        )
        faulty += add_error(
            "usage_at", Row.usage_at, several, found_by_time.c.place == Row.place, found_by_time.c.count > 1
        )
    by_time = sa.update(STAGED).where(GOOD, found_by_time.c.place == Row.place)
    db.session.execute(by_time.values(usage_id=found_by_time.c.usage_id))
    return faulty + reject_existing(organization_id)


def compare_with_existing(organization_id: int) -> tuple[int, int]:
    """How many lines say what the ledger says already, and how many something else."""
    said: dict[str, Any] = {name: Row[name] for name in candidates.COLUMNS if name != "amount_in_type_unit"}
    said["unit"] = sa.func.coalesce(Row.unit, UsageType.unit)
    same = sa.and_(*(Usage.__table__.c[name].is_not_distinct_from(value) for name, value in said.items()))
    comparing = (
        sa.update(STAGED)
        .where(GOOD, Usage.organization_id == organization_id, Usage.id == Row.usage_id)
        .where(UsageType.id == Usage.usage_type_id)
        .values(same=same)
    )
    matched = count_affected(comparing)
    equal = db.session.scalar(sa.select(sa.func.count()).select_from(STAGED).where(GOOD, Row.same)) or 0
    return equal, matched - equal
