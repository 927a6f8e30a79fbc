"""Intervals over a change of factor: divided by days, or with the factor of their start."""

import pytest

from tests.support import factories
from tests.support.daily_totals import assert_totals_match_usages

BILL = {"usage_at": "2024-12-15T00:00:00Z", "usage_until": "2025-01-15T00:00:00Z", "amount": 3100}


@pytest.fixture
def electricity():
    """The id of a type with the UK's factors of 2024 and 2025."""
    usage_type = factories.usage_type("UK electricity", "kWh", scope=2, factor=None)
    factories.emission_factor(usage_type, "0.20705", "2024-01-01", "2025-01-01")
    factories.emission_factor(usage_type, "0.177", "2025-01-01", "2026-01-01")
    return usage_type.id


def record(client, usage_type_id, **fields):
    answer = client.post("/usages", json=BILL | {"usage_type_id": usage_type_id} | fields)
    assert answer.status_code == 201, answer.json
    return answer.json


def test_bill_over_a_change_of_factor_is_split(as_manager, electricity):
    usage = record(as_manager, electricity)

    assert (usage["co2e_kg"], usage["factor"], usage["split_co2e_kg"]) == (599.785, 0.20705, -42.07)
    assert_totals_match_usages(as_manager.user.organization_id)
