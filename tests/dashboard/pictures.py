"""Take the screenshots of the dashboard in docs/pictures: `make screenshots`."""

from pathlib import Path

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser
PICTURES = Path(__file__).parents[2] / "docs/pictures"
MONTHS = [f"{year}-{month:02}" for year in (2020, 2021, 2022) for month in range(1, 13)][3:-1]


@pytest.fixture
def years(manager):
    """Years of a household. The electricity of some days is missing, and that of a month is estimated."""
    manager.import_readings("gas", 102, MONTHS)
    manager.import_readings("electricity", 100, [month for month in MONTHS if month not in ("2021-10", "2022-11")])
    bill = {"usage_type_id": 100, "amount": "190"}
    measured = {"usage_at": "2021-10-01T00:00:00Z", "usage_until": "2021-10-20T00:00:00Z"}
    estimated = {"usage_at": "2022-11-01T00:00:00Z", "usage_until": "2022-12-01T00:00:00Z", "quality": "estimated"}
    manager.ask("POST", "/usages", bill | measured)
    manager.ask("POST", "/usages", bill | estimated)
    return manager


@pytest.mark.parametrize(
    ("name", "scheme", "size"),
    [
        ("light", "light", {"width": 1200, "height": 900}),
        ("dark", "dark", {"width": 1200, "height": 900}),
        ("narrow", "light", {"width": 360, "height": 1120}),
    ],
)
def test_screenshot_is_small(enter, years, name, scheme, size):
    page = enter(years, compare="" if name == "narrow" else "previous_year")
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size(size)
    expect(page.locator(".bar")).to_have_count(len(MONTHS))
    page.evaluate("new Promise(resolve => setTimeout(resolve, 500))")
    if name != "narrow":
        page.locator(".bar").nth(21).hover()
    PICTURES.mkdir(exist_ok=True)
    page.screenshot(path=PICTURES / f"dashboard-{name}.png")

    assert (PICTURES / f"dashboard-{name}.png").stat().st_size < 150_000
