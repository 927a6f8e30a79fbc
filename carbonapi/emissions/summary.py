"""Emissions in total, and by whom and what they were caused."""

from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from ..db import db
from ..usages.models import Usage
from .trend import GROUPS, Figures, figures_of, refuse_two_methods, sums, with_names

BREAKDOWNS = ("scope", "usage_type", "user")
SHARE_DIGITS = Decimal("0.000001")


def summary(usages: sa.Select[Any]) -> Figures:
    """The totals of these usages, and by scope, usage type and user each its figures and its share of the CO2e.

    usages: a SELECT of Usage, as the actor may see and has narrowed them. Shares are rounded to six digits; a total of
    nothing has none.
    """
    keys = [GROUPS[breakdown][0] for breakdown in BREAKDOWNS]
    statement = (
        with_names(usages)
        .with_only_columns(
            *sums(),
            sa.func.grouping(*keys).label("level"),
            sa.func.array_agg(Usage.restatement_id.distinct())
            .filter(Usage.restatement_id.is_not(None))
            .label("restatement_ids"),
            *(key.label(f"{breakdown}_id") for breakdown, key in zip(BREAKDOWNS, keys, strict=True)),
            *(sa.func.min(GROUPS[breakdown][1]).label(f"{breakdown}_name") for breakdown in BREAKDOWNS),
        )
        .group_by(sa.func.grouping_sets(sa.text("()"), *(sa.tuple_(key) for key in keys)))
        .order_by(sa.text("co2e_kg DESC"), *(key.nulls_last() for key in keys))
    )
    # grouping() has a bit for each key that a row does not tell apart, the first key's highest.
    everything = (1 << len(keys)) - 1
    levels = {everything ^ (1 << place): breakdown for place, breakdown in enumerate(reversed(BREAKDOWNS))}
    rows = db.session.execute(statement).all()
    refuse_two_methods(rows)
    whole = next(row for row in rows if row.level == everything)
    answer: Figures = figures_of(whole) if whole.usage_count else {"co2e_kg": 0, "usage_count": 0}
    answer["restatement_ids"] = whole.restatement_ids or []
    answer |= {f"by_{breakdown}": [] for breakdown in BREAKDOWNS}
    for row in rows:
        if row.level in levels:
            breakdown = levels[row.level]
            group = {"id": getattr(row, f"{breakdown}_id"), "name": getattr(row, f"{breakdown}_name")}
            answer[f"by_{breakdown}"].append(group | figures_of(row) | _share(row.co2e_kg, whole.co2e_kg))
    return answer


def _share(part: Decimal, whole: Decimal) -> Figures:
    return {"share": (part / whole).quantize(SHARE_DIGITS) if whole else None}
