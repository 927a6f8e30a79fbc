"""The pictures of the dashboard in docs/pictures. `make screenshots` takes them."""

from pathlib import Path

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser
PICTURES = Path(__file__).parents[2] / "docs/pictures"
YEARS = [f"{year}-{month:02}" for year in (2021, 2022) for month in range(1, 13)]


@pytest.fixture
def years(manager):
    """Two years of a household, in which the electricity of some days is not there and of a month is estimated."""
    missing = {"2021-10", "2022-11"}
    manager.book("electricity", 100, set(YEARS) - missing)
    manager.book("gas", 102, set(YEARS))
    for day, quality in (("2021-10", "measured"), ("2022-11", "estimated")):
        bill = {
            "usage_at": f"{day}-01T00:00:00Z",
            "usage_until": f"{day}-{20 if quality == 'measured' else 30}T00:00:00Z",
        }
        manager.ask("POST", "/usages", {"usage_type_id": 100, "amount": "190", "quality": quality, **bill})
    return manager


@pytest.mark.parametrize(
    ("name", "scheme", "size"),
    [
        ("light", "light", {"width": 1200, "height": 900}),
        ("dark", "dark", {"width": 1200, "height": 900}),
        ("narrow", "light", {"width": 360, "height": 1180}),
    ],
)
def test_a_picture_is_taken(enter, years, name, scheme, size):
    page = enter(
        years, range="free", start="2021-01-01", end="2022-11-30", compare="" if name == "narrow" else "previous_year"
    )
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size(size)
    expect(page.locator(".bar")).to_have_count(23)
    page.evaluate("new Promise(resolve => setTimeout(resolve, 500))")
    if name != "narrow":
        page.locator(".bar").nth(12).hover()
    PICTURES.mkdir(exist_ok=True)
    page.screenshot(path=PICTURES / f"dashboard-{name}.png")

    assert (PICTURES / f"dashboard-{name}.png").stat().st_size < 150_000
