"""The report of coverage: which series have data, by month, and the gaps of each."""

import datetime as dt
from collections.abc import Sequence
from decimal import ROUND_DOWN, Decimal
from itertools import pairwise
from typing import Any

from ..auth import visible
from ..catalogue.models import UsageType
from ..db import db
from ..sites.models import Meter, Site
from .buckets import bucket_edges
from .coverage import COVERAGE_DIGITS, SERIES, Series, Span, coverage_of, gaps_of
from .prorated_rows import TimeEdges
from .series import HOURS, hours_of_series
from .service import UsageSelection
from .trend import Expect, range_of

EDGES = TimeEdges("edges")


def coverage_report(
    selection: UsageSelection,
    expect: Expect,
    timezone: str,
    start: dt.datetime | None = None,
    end: dt.datetime | None = None,
) -> dict[str, Any]:
    """Return the coverage of all series within [start, end) and of each, by month of local time, with its gaps.

    Without `start` and `end`, the range is from the first usage to the last.
    """
    full_range = (start, end) if start and end else range_of(selection.usages, start, end)
    if full_range is None:
        return {"coverage": None, "mean_of_months": None, "expected_months": 0, "complete_months": 0, "series": []}
    has_days = timezone == selection.timezone
    found = selection.find(HOURS, {EDGES: full_range}, by_days=False, hours_by_days=has_days, timezone=timezone)
    rows = hours_of_series(selection, found, {EDGES: full_range}, timezone)
    months = bucket_edges(*full_range, "month", timezone)
    spans = [(max(begin, full_range[0]), min(until, full_range[1])) for begin, until in pairwise(months)]
    series = [each for each in expect(found.has_sites).complete(rows) if _is_expected(each, *full_range)]
    reports = [_report(each, full_range, spans, timezone) for each in series]
    by_month = [month["coverage"] for report in reports for month in report["months"] if month["coverage"] is not None]
    mean = sum(by_month, Decimal(0)) / len(by_month) if by_month else None
    return {
        "coverage": coverage_of(series, full_range, full_range, timezone),
        "mean_of_months": mean and mean.quantize(COVERAGE_DIGITS, ROUND_DOWN),
        "expected_months": len(by_month),
        "complete_months": sum(share == 1 for share in by_month),
        "series": _with_names(reports),
    }


def _is_expected(series: Series, begin: dt.datetime, end: dt.datetime) -> bool:
    since, until = series.expected_within(begin, end)
    return since < until


def _report(series: Series, full_range: Span, months: Sequence[Span], timezone: str) -> dict[str, Any]:
    return {
        **{name: getattr(series, name) for name in SERIES},
        **_covered(series, full_range, timezone),
        "months": [_covered(series, month, timezone) | _named(month) for month in months],
        "gaps": [_named(gap) for gap in gaps_of(series, full_range, timezone)],
    }


def _covered(series: Series, span: Span, timezone: str) -> dict[str, Any]:
    return {"coverage": coverage_of([series], span, span, timezone)}


def _named(span: Span) -> dict[str, Any]:
    return dict(zip(("starts_at", "ends_at"), span, strict=True))


def _with_names(reports: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the reports with the names of what they are about, those with the lowest coverage first."""
    models: dict[str, Any] = {"usage_type": UsageType, "site": Site, "meter": Meter}
    for kind, model in models.items():
        ids = {report[f"{kind}_id"] for report in reports} - {None}
        rows = db.session.execute(visible(model).with_only_columns(model.id, model.name).where(model.id.in_(ids)))
        names = {row.id: row.name for row in rows}
        for report in reports:
            report[f"{kind}_name"] = names.get(report[f"{kind}_id"])
    return sorted(reports, key=lambda report: (report["coverage"], report["usage_type_id"]))
