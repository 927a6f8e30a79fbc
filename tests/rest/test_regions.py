"""Codes of regions: what is accepted, and the hint for what is not."""

from importlib import resources
from zoneinfo import reset_tzpath

import pytest

from carbonapi.rest import fields
from carbonapi.rest.regions import COUNTRIES, EGRID_SUBREGIONS
from tests.support import factories

USAGE = {"usage_type_id": 100, "usage_at": "2024-01-01T00:00:00Z", "amount": 1}


def test_countries_are_those_of_iso_3166():
    table = (resources.files("tzdata") / "zoneinfo" / "iso3166.tab").read_text(encoding="utf-8")
    codes = {line.partition("\t")[0] for line in table.splitlines() if line and not line.startswith("#")}

    assert codes == COUNTRIES
    assert (len(COUNTRIES), len(EGRID_SUBREGIONS)) == (249, 27)


@pytest.mark.parametrize("region", ["GB", "GB-LND", "US-CA", "US-CAMX", "SE-SE3", "FR-75", "XX", "UK"])
def test_region_is_a_country_a_part_or_a_zone(as_manager, region):
    valid = region not in ("XX", "UK")

    usage = as_manager.post("/usages", json=USAGE | {"region": region})
    path = f"/organizations/{as_manager.user.organization_id}"
    organization = as_manager.patch(path, json={"region": region})
    factor = {"factor": 1, "valid_from": "2024-01-01T00:00:00Z", "source": "x", "region": region}
    created = as_manager.post("/usage-types/100/factors", json=factor)

    assert [usage.status_code, organization.status_code] == ([201, 200] if valid else [422, 422])
    assert created.status_code == (201 if valid else 422)


@pytest.mark.parametrize(
    ("region", "hint"),
    [
        ("UK", "UK is not an ISO 3166 code. Use GB."),
        ("uk", "UK is not an ISO 3166 code. Use GB."),
        ("UK-LND", "UK is not an ISO 3166 code. Use GB-LND."),
        ("EL", "EL is not an ISO 3166 code. Use GR."),
        ("GBR", "GBR is not an ISO 3166 code. Use GB."),
        ("gb", "Must be in capitals: GB."),
        ("us-camx", "Must be in capitals: US-CAMX."),
        ("ZZ", "Must be an ISO 3166 code of a country such as GB, or of a part of one such as GB-LND."),
        ("Britain", "Must be an ISO 3166 code of a country such as GB, or of a part of one such as GB-LND."),
        ("US-CAXX", "CAXX is no subdivision in ISO 3166-2 and no eGRID subregion. Use US for the whole country."),
        ("GB-CAMX", "CAMX is no subdivision in ISO 3166-2 and no eGRID subregion. Use GB for the whole country."),
    ],
)
def test_hint_names_the_right_region(as_manager, region, hint):
    rejected = as_manager.post("/usages", json=USAGE | {"region": region})
    assert (rejected.status_code, rejected.json["errors"]) == (422, {"json": {"region": [hint]}})

    file = f"usage_at,amount,region\n2024-01-01T00:00:00Z,1,{region}\n"
    imported = as_manager.post("/imports?usage_type_id=100", data=file, content_type="text/csv")
    assert (imported.status_code, imported.json["errors"]["file"]) == (422, {"2": [f"region: {hint}"]})


@pytest.fixture
def legacy_zone(tmp_path):
    """Return the name of a time zone that this machine has and PostgreSQL lacks."""
    zone = (resources.files("tzdata") / "zoneinfo" / "Asia" / "Kolkata").read_bytes()
    (tmp_path / "Test").mkdir()
    (tmp_path / "Test" / "Legacy").write_bytes(zone)
    reset_tzpath(to=[str(tmp_path)])
    fields.timezone_names.cache_clear()
    yield "Test/Legacy"
    reset_tzpath()
    fields.timezone_names.cache_clear()


def test_time_zone_that_postgresql_lacks_is_422(as_manager, legacy_zone):
    path = f"/organizations/{as_manager.user.organization_id}"

    rejected = as_manager.patch(path, json={"timezone": legacy_zone})

    assert (rejected.status_code, list(rejected.json["errors"]["json"])) == (422, ["timezone"])
    assert rejected.json["errors"]["json"]["timezone"][0].startswith("The database does not know this time zone.")
    assert as_manager.get(f"/usages?timezone={legacy_zone}").status_code == 422
    assert as_manager.patch(path, json={"timezone": "Asia/Kolkata"}).status_code == 200
    assert factories.usage(as_manager.user).version == 1
