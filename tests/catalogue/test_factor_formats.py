"""The formats of published tables of emission factors."""

import json
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa

from carbonapi.catalogue.factor_formats import read_mapping
from carbonapi.catalogue.factor_import import import_factors
from carbonapi.catalogue.models import EmissionFactor, FactorSet, UsageType
from carbonapi.db import db
from carbonapi.errors import ValidationFailed
from carbonapi.rest.fields import format_decimal

DATA = Path(__file__).parents[1] / "data"
TABLES = DATA / "factors"


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


def counts(result):
    return result.added_count, result.superseded_count, result.unchanged_count, result.skipped_count


def imported(name, **options):
    return import_factors(TABLES / name, **options)


def only_factor():
    return db.session.scalars(sa.select(EmissionFactor).where(EmissionFactor.source != "exercise")).one()


def test_uk_government_flat_file_is_read(app):
    file = DATA / "uk-government-flat-file-2024.csv"

    assert counts(import_factors(file)) == (6, 0, 0, 1)
    assert counts(import_factors(file, "uk-government")) == (0, 0, 6, 1)

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
    assert one.citation == "row 15, ID 9_900_9001_8_1"
    types = {usage_type.unit: usage_type for usage_type in db.session.scalars(sa.select(UsageType))}
    assert (types["t"].category, types["l"].outside_of_scopes) == ("stationary_combustion", True)


def test_parts_of_gases_become_masses(app):
    imported("uk-gases.csv")

    electricity, diesel, methane, blend, wood, biogenic = db.session.scalars(
        sa.select(EmissionFactor).where(EmissionFactor.source != "exercise").order_by(EmissionFactor.id)
    ).all()
    # The published total is the factor, although its gases add up to 0.17701.
    assert electricity.factor == Decimal("0.177")
    assert electricity.co2_kg == Decimal("0.17489")
    assert electricity.ch4_kg == Decimal("0.000032142857")  # 0.0009 / 28
    assert electricity.n2o_kg == Decimal("0.000004603774")  # 0.00122 / 265
    total = electricity.co2_kg + 28 * electricity.ch4_kg + 265 * electricity.n2o_kg
    assert round(total, 9) == Decimal("0.17701")
    assert (diesel.factor, diesel.co2_kg) == (Decimal("2.57082"), Decimal("2.5323"))
    assert (methane.factor, methane.ch4_kg, methane.other_co2e_kg) == (28, 1, None)
    assert (blend.factor, blend.other_co2e_kg) == (3943, 3943)
    assert (wood.gwp, wood.co2_kg, wood.ch4_kg) == ("AR4", None, None)
    assert (biogenic.factor, biogenic.biogenic_co2_kg, biogenic.co2_kg) == (Decimal("0.14"), Decimal("0.14"), None)
    assert db.session.scalars(sa.select(FactorSet)).one().gwp == "AR5"


def test_names_of_gases_and_levels_of_older_years_are_read(app, tmp_path):
    file = tmp_path / "2021.csv"
    header = (
        "Scope,Level 1,Level 2,Level 3,Level 4,Column Text,UOM (simple),UOM,GHG,Lookup,GHG Conversion Factor 2021\n"
    )
    gas = "Scope 1,Fuels,Gaseous fuels,Natural gas,,Energy - Gross CV,kWh,kWh (Gross CV)"
    file.write_text(
        f"{header}{gas},kg CO2e,,0.18316\n{gas},kg CO2,,0.18281\n{gas},kg CH4,,0.00025\n{gas},kg N2O,,0.0001\n"
        "Scope 1,Refrigerant & other,Other,HFO,,,kg,kg,kg CO2e,,< 1\n"
        "Outside of Scopes,Outside of scopes,Biofuel,Biodiesel,,,litres,litres,kg CO2,,2.5\n"
    )
    result = import_factors(file)

    assert counts(result) == (2, 0, 0, 1)
    assert stored() == [
        ("Fuels, Gaseous fuels, Natural gas (Gross CV)", "kWh", 1, "GB", 2021, "0.18316"),
        ("Outside of scopes, Biofuel, Biodiesel", "l", None, "GB", 2021, "2.5"),
    ]
    factor = db.session.scalar(sa.select(EmissionFactor).where(EmissionFactor.ch4_kg.is_not(None)))
    assert (factor.ch4_kg, factor.n2o_kg) == (Decimal("0.00001"), Decimal("0.000000335570"))  # AR4: 25 and 298.


def test_levels_have_scopes_and_categories(app):
    imported("uk-2025.csv")

    rows = db.session.execute(
        sa.select(UsageType.scope, UsageType.category, UsageType.outside_of_scopes, UsageType.unit)
        .join(EmissionFactor, EmissionFactor.usage_type_id == UsageType.id)
        .where(EmissionFactor.source != "exercise")
        .order_by(EmissionFactor.id)
    ).all()
    assert rows == [
        (2, "purchased_electricity", False, "kWh"),
        (1, "stationary_combustion", False, "kWh"),
        (3, "purchased_goods_and_services", False, "m3"),
        (3, "purchased_goods_and_services", False, "million litres"),
        (3, "employee_commuting", False, "per FTE Working Hour"),
        (3, "upstream_transport", False, "tonne.km"),
        (None, None, True, "t"),
        (1, "fugitive_emissions", False, "kg"),
        (3, "business_travel", False, "Room per night"),
    ]


@pytest.mark.parametrize(
    ("file", "options", "expected", "publisher", "edition"),
    [
        ("uk-2018-ghg.csv", {}, ["GB 2018 0.28307"], "UK Government", "2018"),
        ("uk-thousands.csv", {}, ["GB 2025 3943"], "UK Government", "2025"),
        ("uk-ragged.csv", {}, ["GB 2025 0.177"], "UK Government", "2025"),
        ("uk-latin1.csv", {}, ["GB 2025 1.55"], "UK Government", "2025"),
        ("owid-old.csv", {}, ["DE 2023 0.38095047", "GB 2023 0.2376"], "Our World in Data", "2023"),
        ("owid-2026.csv", {}, ["DE 2022 0.38095047"], "Our World in Data", "2022"),
        ("owid-energy.csv", {}, ["DE 2020 0.38095"], "Our World in Data", "2020"),
        ("ember-long.csv", {}, ["DE 2019 0.3501"], "Ember", "2019"),
        ("eea.csv", {}, ["DE 2018 0.4001"], "European Environment Agency", "2018"),
        # 429.983 × 0.45359237 / 1000 = 0.19503700802971 and 1548.53 × 0.45359237 / 1000 = 0.7024013927161
        (
            "egrid-two-headers.csv",
            {},
            ["US-CAMX 2023 0.19503700803", "US-PRMS 2023 0.702401392716"],
            "US EPA eGRID",
            "2023",
        ),
        ("egrid-2016-oldcols.csv", {"year": 2016}, ["US-CAMX 2016 0.240358596863"], "US EPA eGRID", "2016"),
        ("egrid-lower.csv", {}, ["US-CAMX 2021 0.241175063129"], "US EPA eGRID", "2021"),
        ("egrid-summary.csv", {}, ["US-AKGD 2023 0.410546454087"], "US EPA eGRID", "2023"),
        ("egrid-state.csv", {}, ["US-NY 2023 0.222849931381"], "US EPA eGRID", "2023"),
        ("epahub.csv", {"year": 2025}, ["US 2025 104.422"], "US EPA Emission Factors Hub", "2025"),
        ("epahub.csv", {"year": 2021}, ["US 2021 104.4418"], "US EPA Emission Factors Hub", "2021"),
        ("own-semicolon.csv", {}, ["DE 2024 0.38"], "Own table", "own-semicolon.csv"),
        ("own-hourly.csv", {}, ["DE 2024 0.2501", "DE 2024 0.2502"], "Own table", "own-hourly.csv"),
    ],
)
def test_published_table_is_recognized_and_read(app, file, options, expected, publisher, edition):
    result = imported(file, **options)

    assert [f"{region} {year} {factor}" for _, _, _, region, year, factor in stored()] == expected
    factor_set = db.session.scalars(sa.select(FactorSet)).one()
    assert (factor_set.publisher, factor_set.edition, factor_set.id) == (publisher, edition, result.id)
    again = imported(file, **options)
    assert (again.added_count, again.superseded_count, again.unchanged_count) == (0, 0, len(expected))


def test_life_cycle_factors_have_a_note(app):
    imported("owid-2026.csv")

    assert only_factor().note.startswith("Life cycle")


def test_gases_of_egrid_are_read(app):
    imported("egrid-summary.csv")

    # 899.4, 0.092 and 0.012 pounds per MWh; 905.1 with the potentials of AR5.
    factor = only_factor()
    assert (factor.co2_kg, factor.ch4_kg) == (Decimal("0.407960977578"), Decimal("0.000041730498"))
    assert db.session.scalars(sa.select(FactorSet)).one().gwp == "AR5"


def test_gases_in_other_units_are_not_read(app, tmp_path):
    file = tmp_path / "egrid2014.csv"
    file.write_text("YEAR,SUBRGN,SRCO2RTA,SRCH4RTA,SRN2ORTA,SRC2ERTA\n2014,CAMX,568.6,33.1,4.0,570.5\n")  # Per GWh.
    import_factors(file)

    assert (only_factor().co2_kg, only_factor().ch4_kg) == (None, None)


def test_co2_of_biomass_is_not_in_the_factor(app, tmp_path):
    file = tmp_path / "hub.csv"
    header = "Fuel Type,kg CO2 per mmBtu,g CH4 per mmBtu,g N2O per mmBtu\n"
    file.write_text(f"{header}Natural Gas,53.06,1.0,0.10\nBiomass Fuels - Solid,,,\nWood,93.80,7.2,3.6\n")
    import_factors(file, year=2025)

    gas, wood = db.session.scalars(
        sa.select(EmissionFactor).where(EmissionFactor.region == "US").order_by(EmissionFactor.id)
    ).all()
    assert (gas.factor, gas.biogenic_co2_kg) == (Decimal("53.1145"), None)
    assert (wood.factor, wood.biogenic_co2_kg, wood.co2_kg) == (Decimal("1.1556"), Decimal("93.8"), 0)


@pytest.mark.parametrize(
    ("times", "end"),
    [
        (("2024-01-01 00:00:00", "2024-01-01 01:00:00"), "2024-01-01T01:00:00"),
        (("2024-01-01 00:00:00", "2024-01-02 00:00:00"), "2024-01-02T00:00:00"),
        (("2024-02-01 00:00:00", "2024-03-01 00:00:00"), "2024-03-01T00:00:00"),
        (("2023-01-01 00:00:00", "2024-01-01 00:00:00"), "2024-01-01T00:00:00"),
    ],
)
def test_electricity_maps_of_any_interval_is_read(app, tmp_path, times, end):
    file = tmp_path / "DE.csv"
    unit = "Carbon intensity gCO₂eq/kWh"
    header = f"Datetime (UTC),Country,Zone name,Zone id,{unit} (direct),{unit} (Life cycle)\n"
    file.write_text(header + "".join(f"{time},Germany,Germany,DE,250.1,300.2\n" for time in times))
    import_factors(file)

    of_region = sa.select(EmissionFactor).where(EmissionFactor.region == "DE")
    first = db.session.scalar(of_region.order_by(EmissionFactor.valid_from).limit(1))
    assert (str(first.factor).rstrip("0"), first.valid_until.strftime("%Y-%m-%dT%H:%M:%S")) == ("0.2501", end)


def test_missing_figure_is_not_zero(app, tmp_path):
    file = tmp_path / "eea.csv"
    header = "Year:year,Member State:text,Greenhouse gas (GHG) emission intensity:number\n"
    file.write_text(f"{header}2023,Austria,NA\n2023,Sweden,\n2023,Germany,0\n2023,EU-27,210\n")

    result = import_factors(file)

    assert counts(result) == (1, 0, 0, 3)
    assert result.skipped_reasons == {"It has no figure.": 2, "It is no country.": 1}
    assert stored() == [("grid electricity", "kWh", 2, "DE", 2023, "0")]


def test_any_table_is_read_with_a_column_mapping(app):
    mapping = {
        "columns": {
            "region": "Zone id",
            "valid_from": "Datetime (UTC)",
            "kg_co2e_per_unit": "Carbon intensity gCO₂eq/kWh (direct)",
        },
        "constants": {
            "usage_type": "grid electricity",
            "unit": "kWh",
            "scope": 2,
            "source": "Electricity Maps",
            "valid_until": "2024-01-01T01:00:00Z",
        },
        "scale": "0.001",
    }
    imported("emaps.csv", mapping=read_mapping(json.loads(json.dumps(mapping))), publisher="Electricity Maps")

    assert stored() == [("grid electricity", "kWh", 2, "DE", 2024, "0.2501")]
    assert (only_factor().valid_until - only_factor().valid_from).total_seconds() == 3600
    assert db.session.scalars(sa.select(FactorSet)).one().publisher == "Electricity Maps"


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ([], "must be a JSON object"),
        ({"colums": {}}, "must be a JSON object"),
        ({"columns": {}}, "must not be empty"),
        ({"columns": {"factor": "x"}}, "unknown fields factor"),
        ({"columns": {"unit": 3}}, "must be the name of a column"),
        ({"columns": {"unit": "x"}, "constants": {"source": []}}, "must be text, a number or a boolean"),
        ({"columns": {"unit": "x"}}, "lacks usage_type, valid_from, kg_co2e_per_unit, source"),
    ],
)
def test_invalid_column_mapping_is_rejected(mapping, message):
    with pytest.raises(ValidationFailed, match=message):
        read_mapping(mapping)


@pytest.mark.parametrize(
    ("file_format", "text", "message", "line"),
    [
        ("egrid", "YEAR,SUBRGN\n2023,CAMX\n", r"lacks the columns SRC2ERTA", "1"),
        ("egrid", "", "lacks the columns SRC2ERTA", "1"),
        ("egrid", "YEAR,SUBRGN,SRC2ERTA\n2023,CAMX,many\n", "table.csv has 1 invalid lines", "2"),
        ("egrid", "YEAR,SUBRGN,SRC2ERTA\nnew,CAMX,1\n", "table.csv has 1 invalid lines", "2"),
        ("egrid", "YEAR,SUBRGN,SRC2ERTA\n2023,CAMX,1,2\n", "table.csv has 1 invalid lines", "2"),
        (None, "Fuel,Factor\ngas,1\n", "has the header of no known format", "1"),
        ("own", "title\nusage_type,unit,valid_from,source\n", "lacks the columns kg_co2e_per_unit", "1"),
        (
            None,
            "Fuel Type,kg CO2 per mmBtu,g CH4 per mmBtu,g N2O per mmBtu\nGas,1,1,1\n",
            "does not state the year",
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
    assert db.session.scalars(sa.select(FactorSet)).all() == []
