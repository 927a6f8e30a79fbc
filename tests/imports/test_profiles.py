"""Import profiles: TOML files with the options of one kind of file."""

import io
from decimal import Decimal
from pathlib import Path

import click
import pytest

from carbonapi.auth import Actor, acting_as
from carbonapi.catalogue.factor_import import import_factors
from carbonapi.commands.usages import load_options
from carbonapi.errors import ValidationFailed
from carbonapi.imports.profiles import SHIPPED_PROFILES, load_profile
from carbonapi.imports.service import import_file
from tests.support import factories
from tests.support.series import read_series

FACTORS = Path(__file__).parents[2] / "carbonapi/catalogue/factors/gb-government-conversion-factors.csv"


@pytest.fixture
def import_profiled(as_manager, app):
    """Return a function that imports a file as the manager, with a profile and options."""
    import_factors(FACTORS)
    user = as_manager.user

    def import_with_profile(content, profile, usage_type=None, **changes):
        options = load_options(user.id, usage_type, profile, **changes)
        with acting_as(Actor(user.id, user.organization_id, "manager", "UTC")):
            return import_file(io.BytesIO(content), factories.now(), **options)

    return import_with_profile


@pytest.mark.parametrize(
    ("name", "usage_type", "count", "total", "co2e_kg"),
    [
        ("gb-household-electricity-hourly", None, 23_508, "3789.626", "804.35879851"),
        ("gb-household-gas-hourly", None, 23_508, "16878.2622", None),
        ("il-electricity-hourly", "electricity", 19_417, "21927.13", "32890.695"),
        ("il-electricity-daily", "100", 809, "21925.83", "32888.745"),
    ],
)
def test_shipped_profile_reads_its_file(import_profiled, name, usage_type, count, total, co2e_kg):
    content = read_series(name)

    recorded = import_profiled(content, SHIPPED_PROFILES / f"{name}.toml", usage_type)

    assert (recorded.new_count, recorded.amount, recorded.rejected_count) == (count, Decimal(total), 0)
    if co2e_kg:
        assert recorded.co2e_kg == Decimal(co2e_kg)


def test_every_shipped_profile_is_tested():
    assert {path.stem for path in SHIPPED_PROFILES.glob("*")} == {
        "gb-household-electricity-hourly",
        "gb-household-gas-hourly",
        "il-electricity-hourly",
        "il-electricity-daily",
    }


def test_options_take_precedence_over_profile(import_profiled, tmp_path):
    profile = tmp_path / "ours.toml"
    profile.write_text(
        'usage_type_id = 101\nround = 0\ndelimiter = ";"\nignore = ["note"]\ncolumns = "usage_at:start,amount:value"\n'
    )
    content = b"start;value;note\n2024-01-01T00:00:00Z;1.26;x\n"

    assert import_profiled(content, profile).co2e_kg == Decimal("26.93")
    assert import_profiled(content, profile, "100", round="1", again="true", mode="dry-run").co2e_kg == Decimal("1.95")
    assert import_profiled(content, profile, "electricity", round="2", again="true", mode="dry-run").co2e_kg == Decimal(
        "1.89"
    )


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("round = ", "ours.toml is not a TOML file: "),
        ('mood = "good"', "ours.toml has unknown options: mood. Options: mode, on_conflict, format, "),
        ("user_id = 1", "ours.toml has unknown options: user_id. Options: "),
        ("round = 1.5", "ours.toml: round must be a string or an integer."),
        ("round = true", "ours.toml: round must be a string or an integer."),
        ('[columns]\namount = "Usage, kWh"', "ours.toml: a column name must not contain a comma."),
        ("columns = [1]", "ours.toml: columns must be a string or an integer."),
    ],
)
def test_invalid_profile_is_rejected(tmp_path, text, error):
    profile = tmp_path / "ours.toml"
    profile.write_text(text + "\n")

    with pytest.raises(ValidationFailed) as failure:
        load_profile(profile)

    assert str(failure.value).startswith(error)


def test_invalid_value_in_profile_names_option(tmp_path):
    profile = tmp_path / "ours.toml"
    profile.write_text("round = 7\n")

    with pytest.raises(click.BadParameter) as failure:
        load_options(1, None, profile)

    assert failure.value.param_hint == "--round"
