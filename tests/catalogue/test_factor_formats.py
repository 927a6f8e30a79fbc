"""The formats of published tables of emission factors."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from carbonapi.catalogue.factor_import import FactorImportResult, import_factors
from carbonapi.catalogue.models import EmissionFactor, UsageType
from carbonapi.db import db
from carbonapi.errors import ValidationFailed
from carbonapi.rest.fields import format_decimal

DATA = Path(__file__).parents[1] / "data"


def stored():
    rows = sa.select(UsageType, EmissionFactor).join(EmissionFactor, EmissionFactor.usage_type_id == UsageType.id)
    rows = rows.where(EmissionFactor.source != "exercise").order_by(EmissionFactor.id)
    return [
        (
            usage_type.name,
            usage_type.unit,
            usage_type.scope,
            factor.region,
            factor.valid_from.year,
            format_decimal(factor.factor),
        )
        for usage_type, factor in db.session.execute(rows)
    ]


def test_uk_government_flat_file_is_read(app):
    file = DATA / "uk-government-flat-file-2024.csv"

    assert import_factors(file, "uk-government") == FactorImportResult(added=6, unchanged=0, skipped=3)
    assert import_factors(file, "uk-government") == FactorImportResult(added=0, unchanged=6, skipped=3)

    gas = "Fuels, Gaseous fuels, Natural gas"
    assert stored() == [
        (gas, "t", 1, "GB", 2024, "2568.16441"),
        (gas, "m3", 1, "GB", 2024, "2.04542"),
        (f"{gas} (Net CV)", "kWh", 1, "GB", 2024, "0.20264"),
        (f"{gas} (Gross CV)", "kWh", 1, "GB", 2024, "0.1829"),
        ("UK electricity, Electricity generated, Electricity: UK", "kWh", 2, "GB", 2024, "0.20705"),
        ("Outside of scopes, Forecourt fuels containing biofuel, Petrol", "l", None, "GB", 2024, "0.13"),
    ]
    one = db.session.scalar(sa.select(EmissionFactor).order_by(EmissionFactor.id.desc()).limit(1))
    assert (one.source, one.valid_until.year) == ("UK Government GHG Conversion Factors 2024", 2025)


def test_eu_intensity_of_our_world_in_data_is_read(app):
    assert import_factors(DATA / "eu-electricity-intensity.csv", "eu-intensity") == FactorImportResult(4, 0, skipped=6)

    assert stored() == [
        ("grid electricity", "kWh", 2, "AT", 2019, "0.099"),
        ("grid electricity", "kWh", 2, "AT", 2020, "0.083"),
        ("grid electricity", "kWh", 2, "GR", 2019, "0.603"),
        ("grid electricity", "kWh", 2, "GR", 2020, "0.522"),
    ]


def test_eu_intensity_of_the_eea_is_read(app, tmp_path):
    file = tmp_path / "eea.csv"
    header = "Year:year,Member State:text,Greenhouse gas (GHG) emission intensity:number\n"
    file.write_text(f"{header}2023,Austria,81.5\n2023,Sweden,\n2023,EU-27,210\n")

    assert import_factors(file, "eu-intensity") == FactorImportResult(1, 0, skipped=2)
    assert stored() == [("grid electricity", "kWh", 2, "AT", 2023, "0.0815")]


def test_egrid_subregions_are_read(app):
    assert import_factors(DATA / "egrid-2023-subregions.csv", "egrid") == FactorImportResult(2, 0, skipped=1)

    # 429.983 × 0.45359237 / 1000 = 0.19503700802971 and 1548.53 × 0.45359237 / 1000 = 0.7024013927161
    assert stored() == [
        ("grid electricity", "kWh", 2, "US-CAMX", 2023, "0.19503700803"),
        ("grid electricity", "kWh", 2, "US-PRMS", 2023, "0.702401392716"),
    ]


@pytest.mark.parametrize(
    ("file_format", "text", "message", "line"),
    [
        ("egrid", "YEAR,SUBRGN\n2023,CAMX\n", "lacks the columns SRC2ERTA", "1"),
        ("egrid", "", "lacks the columns SRC2ERTA, SUBRGN, YEAR", "1"),
        ("egrid", "YEAR,SUBRGN,SRC2ERTA\n2023,CAMX,--\n", "table.csv has 1 invalid lines", "2"),
        ("egrid", "YEAR,SUBRGN,SRC2ERTA\nnew,CAMX,1\n", "table.csv has 1 invalid lines", "2"),
        ("egrid", "YEAR,SUBRGN,SRC2ERTA\n2023,CAMX,1,2\n", "has a line of another length", "2"),
        ("own", "\xe4\n", "is not a CSV file in UTF-8", "1"),
        (
            "own",
            "title\nusage_type,unit,valid_from,kg_co2e_per_unit,source\n",
            "lacks the columns kg_co2e_per_unit",
            "1",
        ),
    ],
)
def test_invalid_table_imports_nothing(app, tmp_path, file_format, text, message, line):
    file = tmp_path / "table.csv"
    file.write_text(text, encoding="latin-1")

    with pytest.raises(ValidationFailed, match=message) as error:
        import_factors(file, file_format)

    assert list(error.value.errors["file"]) == [line]
    assert stored() == []
