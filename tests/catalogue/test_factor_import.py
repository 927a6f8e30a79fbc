"""Import of emission factors from files, by version and by owner."""

import io
import time
from decimal import Decimal
from pathlib import Path

import openpyxl
import pytest
import sqlalchemy as sa

from carbonapi.auth import Actor, acting_as
from carbonapi.catalogue.factor_import import import_factors
from carbonapi.catalogue.factor_revert import revert_factor_set
from carbonapi.catalogue.models import EmissionFactor, FactorSet, UsageType
from carbonapi.db import db
from carbonapi.errors import Conflict, ValidationFailed
from tests.support import factories

SHIPPED = Path(__file__).parents[2] / "carbonapi/catalogue/factors/gb-government-conversion-factors.csv"
TABLES = Path(__file__).parents[1] / "data/factors"
HEADER = "usage_type,unit,scope,region,valid_from,valid_until,kg_co2e_per_unit,source\n"
UK_HEADER = ["ID", "Scope", "Level 1", "Level 2", "Level 3", "Level 4", "Column Text", "UOM", "GHG/Unit"]


def counts(result):
    return result.added_count, result.superseded_count, result.unchanged_count


def stored():
    rows = sa.select(UsageType.name, EmissionFactor.factor).join(
        UsageType, UsageType.id == EmissionFactor.usage_type_id
    )
    return db.session.execute(rows.where(EmissionFactor.source != "exercise")).all()


def sets():
    return [(row.publisher, row.edition) for row in db.session.scalars(sa.select(FactorSet).order_by(FactorSet.id))]


def in_force():
    statement = sa.select(EmissionFactor).where(
        EmissionFactor.source != "exercise", EmissionFactor.superseded_at.is_(None)
    )
    return db.session.scalars(statement.order_by(EmissionFactor.id)).all()


def flat_file(version, figures):
    """Return a workbook in the format of the flat file, with these figures of kWh types by name."""
    workbook = openpyxl.Workbook()
    workbook.active.title = "Front page"
    for cells in (["UK Government GHG Conversion Factors"], ["Version:", version, "Year:", 2025]):
        workbook.active.append(cells)
    sheet = workbook.create_sheet("Factors by Category")
    sheet.append(["Factors by Category"])
    sheet.append([*UK_HEADER, "GHG Conversion Factor 2025"])
    for number, (name, figure) in enumerate(figures.items(), 1):
        sheet.append([number, "Scope 1", "Fuels", "Gaseous fuels", name, None, None, "kWh", "kg CO2e", figure])
    sheet.append([None, "END"])
    file = io.BytesIO()
    workbook.save(file)
    file.seek(0)
    return file


def own_table(folder, lines, name="factors.csv"):
    file = folder / name
    file.write_text(HEADER + lines)
    return file


def test_factor_import_can_be_repeated(app):
    shipped = len(SHIPPED.read_text().splitlines()) - 1
    assert counts(import_factors(SHIPPED)) == (shipped, 0, 0)
    assert counts(import_factors(SHIPPED)) == (0, 0, shipped)

    assert len(stored()) == shipped
    gas, grid = db.session.scalars(sa.select(UsageType).where(UsageType.unit == "kWh").order_by(UsageType.scope)).all()
    assert (gas.name, gas.scope, grid.name, grid.scope) == ("natural gas (gross CV)", 1, "grid electricity", 2)
    of_2021 = db.session.scalar(
        sa.select(EmissionFactor).where(
            EmissionFactor.usage_type_id == grid.id, EmissionFactor.valid_from == sa.text("'2021-01-01+00'")
        )
    )
    assert (str(of_2021.factor).rstrip("0"), of_2021.region) == ("0.21233", "GB")
    assert of_2021.source == "UK Government GHG Conversion Factors 2021"


@pytest.mark.parametrize(
    ("lines", "errors"),
    [
        ("steam,kg,2,GB,2020-01-01,2021-01-01,many,x\n", {"2": ["kg_co2e_per_unit"]}),
        ("steam,kg,2,GB,2020-01-01,2021-01-01,-1,x\n", {"2": ["kg_co2e_per_unit"]}),
        ("steam,kg,4,gb,2020-13-01,2021-01-01,1,x\n", {"2": ["scope"]}),
        ("steam,kg,2,GB,2021-01-01,2020-01-01,1,x\n", {"2": ["valid_until"]}),
        (
            "steam,kg,2,GB,2020-01-01,2021-01-01,1,x\nsteam,kg,2,GB,2020-12-31,2022-01-01,1,x\n",
            {"3": ["An earlier line has another factor of this usage type, region and method at this time."]},
        ),
        (
            "steam,kg,2,GB,2020-01-01,2021-01-01,1,x\nsteam,kg,2,GB,2020-01-01,2021-01-01,2,x\n",
            {"3": ["An earlier line has another factor of this usage type, region and method at this time."]},
        ),
    ],
)
def test_file_with_invalid_lines_imports_nothing(app, tmp_path, lines, errors):
    with pytest.raises(ValidationFailed) as error:
        import_factors(own_table(tmp_path, lines))

    reported = error.value.errors["file"]
    assert {line: [message.split(":")[0] for message in messages] for line, messages in reported.items()} == errors
    assert stored() == []
    assert sets() == []


def test_file_without_required_columns_is_rejected(app, tmp_path):
    file = tmp_path / "factors.csv"
    file.write_text("usage_type,unit\nsteam,kg\n")

    with pytest.raises(ValidationFailed, match="lacks the columns kg_co2e_per_unit, source, valid_from"):
        import_factors(file, "own")


def test_dry_run_records_nothing(app):
    result = import_factors(flat_file(1, {"Butane": 0.2}), mode="dry-run")

    assert (result.id, result.status, result.publisher, result.edition) == (
        None,
        "checked",
        "UK Government",
        "2025 v1.0",
    )
    assert counts(result) == (1, 0, 0)
    assert result.examples["added"][0]["factor"] == Decimal("0.2")
    assert (stored(), sets()) == ([], [])


def test_corrected_edition_supersedes_line_by_line(app):
    first = import_factors(flat_file(1, {"Butane": 0.2, "CNG": 0.18, "LPG": 0.21}))
    second = import_factors(flat_file(1.1, {"Butane": 0.2, "CNG": 0.185, "LPG": 0.21, "LNG": 0.19}))

    assert counts(first) == (3, 0, 0)
    assert counts(second) == (1, 1, 2)
    assert sets() == [("UK Government", "2025 v1.0"), ("UK Government", "2025 v1.1")]
    example = second.examples["superseded"][0]
    assert (example["line"], example["usage_type"]) == (4, "Fuels, Gaseous fuels, CNG")
    assert (example["previous_factor"], example["factor"]) == (Decimal("0.18"), Decimal("0.185"))
    old = db.session.scalars(sa.select(EmissionFactor).where(EmissionFactor.superseded_at.is_not(None))).one()
    new = db.session.scalars(sa.select(EmissionFactor).where(EmissionFactor.supersedes_id == old.id)).one()
    assert (old.factor, old.superseded_reason) == (Decimal("0.18"), "Superseded by UK Government 2025 v1.1.")
    assert (new.factor, new.valid_from, new.factor_set_id) == (Decimal("0.185"), old.valid_from, second.id)
    assert counts(import_factors(flat_file(1.1, {"Butane": 0.2, "CNG": 0.185, "LPG": 0.21, "LNG": 0.19}))) == (0, 0, 4)


def test_other_file_of_an_edition_is_a_revision(app, tmp_path):
    line = "steam,kg,2,GB,2020-01-01,2021-01-01,{},x\n"
    import_factors(own_table(tmp_path, line.format("2.01")))
    result = import_factors(own_table(tmp_path, line.format("0.201")))

    assert counts(result) == (0, 1, 0)
    assert sets() == [("Own table", "factors.csv"), ("Own table", "factors.csv, revision 2")]
    with pytest.raises(ValidationFailed, match="was imported from another file"):
        import_factors(own_table(tmp_path, line.format("0.2")), edition="factors.csv")


def test_factor_of_another_publisher_is_not_superseded(app, tmp_path):
    import_factors(TABLES / "owid-2026.csv")
    line = "grid electricity,kWh,2,DE,2022-01-01,2023-01-01,0.4,x\n"

    with pytest.raises(ValidationFailed) as error:
        import_factors(own_table(tmp_path, line))
    assert "0.38095047 by Our World in Data, is valid within this time" in error.value.errors["file"]["2"][0]
    assert counts(import_factors(own_table(tmp_path, line), publisher="Our World in Data")) == (0, 1, 0)


def test_factor_without_end_ends_the_previous_one(app, tmp_path):
    file = own_table(tmp_path, "steam,kg,2,GB,2020-01-01,,1,x\nsteam,kg,2,GB,2022-01-01,,2,x\n")

    assert counts(import_factors(file)) == (2, 0, 0)
    assert counts(import_factors(file)) == (0, 0, 2)
    assert [factor.valid_until and factor.valid_until.year for factor in in_force()] == [2022, None]


def test_rounded_figures_are_reported(app, tmp_path):
    file = own_table(tmp_path, "gas,kWh,1,GB,2025-01-01,2026-01-01,0.13388999999999998,x\n")
    result = import_factors(file)

    assert result.examples["rounded"] == [{"line": 2, "published": "0.13388999999999998", "recorded": "0.13389"}]
    assert in_force()[0].factor == Decimal("0.13389")


def test_factor_in_grams_has_a_warning(app):
    result = import_factors(TABLES / "own-gco2.csv", mode="dry-run")

    assert [(warning["line"], warning["message"][:21]) for warning in result.warnings] == [(2, "380 kg CO2e per kWh i")]


def test_factor_far_from_its_other_years_has_a_warning(app, tmp_path):
    lines = "".join(f"rail,km,3,GB,{year}-01-01,{year + 1}-01-01,0.0{year - 2015},x\n" for year in range(2020, 2024))
    result = import_factors(own_table(tmp_path, lines + "rail,km,3,GB,2024-01-01,2025-01-01,8.1,x\n"))

    assert [warning["line"] for warning in result.warnings] == [6]
    assert import_factors(own_table(tmp_path, lines, "b.csv")).warning_count == 0


def test_revert_deletes_the_set_and_restores_the_old_factors(app):
    import_factors(flat_file(1, {"Butane": 0.2, "CNG": 0.18}))
    before = [(factor.id, factor.factor) for factor in in_force()]
    second = import_factors(flat_file(1.1, {"Butane": 0.2, "CNG": 0.185, "LNG": 0.19}))

    result = revert_factor_set(db.session.get_one(FactorSet, second.id))

    assert (result.deleted_count, result.restored_count, result.usage_type_count) == (2, 1, 1)
    assert [(factor.id, factor.factor) for factor in in_force()] == before
    assert sets() == [("UK Government", "2025 v1.0")]
    assert counts(import_factors(flat_file(1.1, {"Butane": 0.2, "CNG": 0.185, "LNG": 0.19}))) == (1, 1, 1)


def test_superseded_set_cannot_be_reverted(app):
    first = import_factors(flat_file(1, {"CNG": 0.18}))
    import_factors(flat_file(1.1, {"CNG": 0.185}))

    with pytest.raises(Conflict, match="UK Government 2025 v1.1 superseded factors of UK Government 2025 v1.0"):
        revert_factor_set(db.session.get_one(FactorSet, first.id))


def test_hourly_table_of_a_year_is_imported_quickly(app, tmp_path):
    hours = [f"2024-{1 + day // 28:02}-{1 + day % 28:02}T{hour:02}:00:00Z" for day in range(336) for hour in range(24)]
    lines = (f"hourly,kWh,2,DE,{start},{start[:14]}59:00Z,0.{index:05}1,x\n" for index, start in enumerate(hours))
    started = time.monotonic()
    assert counts(import_factors(own_table(tmp_path, "".join(lines)))) == (8064, 0, 0)
    assert time.monotonic() - started < 60


def test_manager_imports_into_the_own_catalogue(app, tmp_path):
    import_factors(TABLES / "uk-2018-ghg.csv")
    one, two = factories.organization(), factories.organization()
    for organization in (one, two):
        user = factories.user(organization, "manager")
        with acting_as(Actor(user.id, organization.id, "manager", "UTC")):
            result = import_factors(TABLES / "uk-2018-ghg.csv")
            assert (counts(result), result.usage_type_count) == ((1, 0, 0), 0)
            own = import_factors(own_table(tmp_path, "R-410A,kg,1,,2025-01-01,2026-01-01,1923.5,AR5\n"))
            assert (counts(own), own.usage_type_count, own.organization_id) == ((1, 0, 0), 1, organization.id)
    types = db.session.scalars(sa.select(UsageType.organization_id).where(UsageType.name == "R-410A")).all()
    assert sorted(types) == sorted([one.id, two.id])
