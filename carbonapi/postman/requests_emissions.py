"""Requests for emissions, restatements and closed periods."""

from .. import errors
from .requests import Request

FACTOR = {
    "factor": 1.2,
    "valid_from": "2026-01-01T00:00:00Z",
    "valid_until": "2026-02-01T00:00:00Z",
    "source": "Our supplier",
}
RESTATEMENT = {"usage_type_ids": [100], "reason": "Our supplier published its factor"}
EMISSIONS = (
    Request(
        "get_trend",
        query="bucket=month&start=2026-01-01&end=2026-04-01&usage_type_id=100",
        expects={"answer.map(month => month.co2e_kg)": [65.25, 42, 0]},
    ),
    Request("get_summary", query="by=usage_type", expects={'Object.keys(answer).includes("by_user")': False}),
    Request(
        "get_summary",
        "Get the market-based summary",
        query="by=scope&method=market",
        expects={"answer.co2e_kg === answer.market_co2e_kg": True},
    ),
    Request(
        "get_summary",
        "Get the summary as of an earlier time",
        query="as_of={{recorded_at}}",
        expects={"answer.co2e_kg": 18.75},
    ),
    Request(
        "get_bridge",
        query="start=2026-02-01&end=2026-03-01&compare_start=2026-01-01&compare_end=2026-02-01",
        expects={"answer.difference_kg": 30.61},
    ),
)
COVERAGE = (
    Request(
        "get_coverage",
        query="start=2026-01-01&end=2026-03-01",
        expects={"answer.series.length >= 1": True, "answer.expected_months >= 2": True},
    ),
)
RESTATEMENTS = (
    Request("enter_emission_factor", "Enter your supplier's factor", body=FACTOR, saves={"factor_id": "answer.id"}),
    Request(
        "restate_usages",
        "Preview a restatement",
        body=RESTATEMENT | {"mode": "preview"},
        status=200,
        expects={"answer.difference_kg": -13.05},
    ),
    Request(
        "restate_usages",
        body=RESTATEMENT | {"mode": "apply"},
        saves={"restatement_id": "answer.id"},
        expects={"answer.usage_count": 2, "answer.difference_kg": -13.05},
    ),
    Request("get_effect_of_factor_set", expects={"answer.usage_count": 0}),
    Request("get_restatement", expects={"answer.reason": RESTATEMENT["reason"]}),
    Request("list_restatements", expects={"answer.length": 1}),
)
CLOSED_PERIODS = (
    Request("close_period", saves={"closed_period_id": "answer.id"}),
    Request(
        "record_usage",
        "Record in the closed period: conflict",
        body={"usage_type_id": 100, "usage_at": "2025-12-31T12:00:00Z", "amount": 1},
        error=errors.Conflict,
    ),
    Request(
        "record_usage",
        "Record an adjustment to it, dated after it",
        body={
            "usage_type_id": 100,
            "usage_at": "2026-01-01T00:00:00Z",
            "amount": 1,
            "adjusts_closed_period_id": "{{closed_period_id}}",
            "note": "A meter was missing.",
        },
        saves={"adjustment_id": "answer.id"},
    ),
    Request("get_closed_period", expects={"answer.reopened_at": None}),
    Request("list_closed_periods", expects={"answer.length": 1}),
    Request("reopen_period", expects={"answer.reopen_reason": "A meter was missing."}),
)
