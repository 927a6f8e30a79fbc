"""A real British household, imported over HTTP and read back: every number right to the last digit."""

import json


def digits(answer, *names):
    """The figures of every bucket, as the digits that went over the wire."""
    assert answer.status_code == 200, answer.text
    buckets = json.loads(answer.text, parse_float=str, parse_int=str)
    return [tuple(bucket[name] for name in names) for bucket in buckets]


def test_household_adds_up_to_the_last_digit(household):
    usage_types = {usage_type["name"]: usage_type["id"] for usage_type in household.get("/usage-types").json}
    electricity = f"usage_type_id={usage_types['grid electricity']}"

    months = household.get(f"/emissions/trend?{electricity}&bucket=month&start=2021-01-01&end=2022-01-01")
    expected = "164.163 128.124 136.459 102.149 112.502 99.16 103.873 82.019 102.86 116.932 108.063 146.905"
    assert digits(months, "amount") == [(amount,) for amount in expected.split()]
    assert [bucket["bucket_start"][:10] for bucket in months.json][3:5] == ["2021-03-31", "2021-04-30"]

    for day, following, amount, hours in (
        ("2020-10-25", "2020-10-26", "3.001", 25),
        ("2021-03-28", "2021-03-29", "3.892", 23),
        ("2021-10-31", "2021-11-01", "5.986", 25),
        ("2022-03-27", "2022-03-28", "2.689", 23),
        ("2022-10-30", "2022-10-31", "3.967", 25),
    ):
        answer = household.get(f"/emissions/trend?{electricity}&bucket=day&start={day}&end={following}")
        assert digits(answer, "amount", "usage_count") == [(amount, str(hours))]
        by_hour = household.get(f"/emissions/trend?{electricity}&bucket=hour&start={day}&end={following}")
        assert [bucket["usage_count"] for bucket in by_hour.json] == [1] * hours

    years = household.get(f"/emissions/trend?{electricity}&bucket=year")
    assert digits(years, "co2e_kg", "unit") == [
        ("263.45589362", "kWh"),
        ("297.94336697", "kWh"),
        ("242.95953792", "kWh"),
    ]
    summary = household.get(f"/emissions/summary?{electricity}")
    figures = ",".join(f'"{name}co2e_kg":804.35879851' for name in ("", "location_", "market_"))
    assert f'{figures},"provisional_co2e_kg":0,"usage_count":23508,' in summary.text

    both = household.get("/emissions/trend?bucket=year&group_by=scope&start=2021-01-01&end=2022-01-01").json[0]
    assert [(group["id"], group["usage_count"]) for group in both["groups"]] == [(1, 8760), (2, 8760)]
    assert both["groups"][1]["co2e_kg"] == 297.94336697
    everything = household.get("/usages?page_size=1")
    assert '"total": 47016' in everything.headers["X-Pagination"]
