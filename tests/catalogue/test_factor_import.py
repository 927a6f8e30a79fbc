"""Import of emission factors from files."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from carbonapi.catalogue.factor_import import FactorImportResult, import_factors
from carbonapi.catalogue.models import EmissionFactor, UsageType
from carbonapi.db import db
from carbonapi.errors import ValidationFailed

SHIPPED = Path(__file__).parents[2] / "carbonapi/catalogue/factors/gb-government-conversion-factors.csv"
HEADER = "usage_type,unit,scope,region,valid_from,valid_until,kg_co2e_per_unit,source\n"


def stored():
    rows = sa.select(UsageType.name, EmissionFactor.factor).join(
        UsageType, UsageType.id == EmissionFactor.usage_type_id
    )
    return db.session.execute(rows.where(EmissionFactor.source != "exercise")).all()


def test_factor_import_can_be_repeated(app):
    assert import_factors(SHIPPED) == FactorImportResult(added=32, unchanged=0)
    assert import_factors(SHIPPED) == FactorImportResult(added=0, unchanged=32)

    assert len(stored()) == 32
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
        ("steam,kg,2,GB,2020-01-01,2021-01-01,,x\n", {"2": ["kg_co2e_per_unit"]}),
        ("steam,kg,2,GB,2020-01-01,2021-01-01,1e-3,x\n", {"2": ["kg_co2e_per_unit"]}),
        ("steam,kg,4,gb,2020-13-01,2021-01-01,1,x\n", {"2": ["scope", "region", "valid_from"]}),
        (
            "steam,kg,2,GB,2020-01-01,2021-01-01,1,x\nsteam,kg,2,GB,2020-12-31,2022-01-01,1,x\n",
            {"3": ["Another factor of this usage type and region is valid within this time."]},
        ),
    ],
)
def test_file_with_invalid_lines_imports_nothing(app, tmp_path, lines, errors):
    file = tmp_path / "factors.csv"
    file.write_text(HEADER + lines)

    with pytest.raises(ValidationFailed) as error:
        import_factors(file)

    reported = error.value.errors["file"]
    assert {line: [message.split(":")[0] for message in messages] for line, messages in reported.items()} == errors
    assert stored() == []


def test_file_without_required_columns_is_rejected(app, tmp_path):
    file = tmp_path / "factors.csv"
    file.write_text("usage_type,unit\nsteam,kg\n")

    with pytest.raises(ValidationFailed, match="lacks the columns kg_co2e_per_unit, source, valid_from"):
        import_factors(file)
