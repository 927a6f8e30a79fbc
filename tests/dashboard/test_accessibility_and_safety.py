"""Accessibility, checked by axe-core, and protection against stored scripts.

`make browser` runs this, and fetches axe-core.
"""

import hashlib
from pathlib import Path

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser
AXE = Path(__file__).parents[2] / ".venv/axe/package/axe.min.js"
AXE_SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
VIEWS = ("emissions", "coverage", "usages", "imports", "catalogue", "restatements", "users", "settings")
SCRIPT = "<script>window.ran = true</script><img src=x onerror='window.ran = true'>"


@pytest.fixture(scope="session")
def axe():
    assert AXE.exists(), "Run `make browser`, which fetches axe-core."
    content = AXE.read_bytes()
    assert hashlib.sha256(content).hexdigest() == AXE_SHA256
    return content.decode()


def violations(page, axe):
    """Return the violations that axe-core finds. It runs by the DevTools protocol, which no policy restricts."""
    protocol = page.context.new_cdp_session(page)
    protocol.send("Runtime.evaluate", {"expression": axe})
    run = (
        "axe.run().then(result => result.violations.flatMap(rule => rule.nodes.map(node => `${rule.id} ${node.html}`)))"
    )
    answer = protocol.send("Runtime.evaluate", {"expression": run, "awaitPromise": True, "returnByValue": True})
    return answer["result"].get("value", answer)


def wait_until_idle(page):
    page.locator("[aria-busy=true]").first.wait_for(state="detached")
    page.evaluate("Promise.all(document.getAnimations().map(animation => animation.finished)).then(() => null)")


@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_views_are_accessible_and_fit_the_width(enter, household, axe, scheme, width):
    estimate = {"usage_type_id": 100, "usage_at": "2022-05-10T00:00:00Z", "amount": "6", "quality": "estimated"}
    household.ask("POST", "/usages", estimate)
    page = enter(household)
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)
    expect(page.locator("html")).to_have_attribute("data-theme", scheme)

    for view in VIEWS:
        page.goto(f"dashboard?view={view}&compare=previous_year" if view == "emissions" else f"dashboard?view={view}")
        page.locator(".bar, .results table, .types table, .results .empty, .view form").first.wait_for()
        wait_until_idle(page)
        if view == "emissions":
            page.get_by_text("Show as a table").click()
            page.locator(".bar").first.focus()
        if view == "catalogue":
            page.get_by_role("button", name="Factors of water (kg)").click()
            page.locator(".factors table").wait_for()
        if view == "imports":
            file = {"name": "a.csv", "mimeType": "text/csv", "buffer": b"start,value\n2022-02-01T10:00:00Z,x\n"}
            page.set_input_files("#import-file", file)
            page.get_by_label("Default usage type").select_option("electricity (kwh)")
            page.get_by_role("button", name="Preview").click()
            page.locator(".outcome table").wait_for()
        assert violations(page, axe) == [], view
        assert page.evaluate("document.documentElement.scrollWidth") <= width, view

    openers = (
        *(("usages", name) for name in ("Add a usage", "kg: explain", "Delete the usage")),
        ("coverage", "show the gaps"),
    )
    for view, opener in openers:
        page.goto(f"dashboard?view={view}")
        page.get_by_role("button", name=opener).first.click()
        page.get_by_role("dialog").wait_for()
        wait_until_idle(page)
        assert violations(page, axe) == [], opener
        page.get_by_role("button", name="Close").click()


def test_login_page_is_accessible(page, axe):
    page.goto("dashboard")
    page.get_by_role("button", name="Log in", exact=True).click()
    page.locator("[aria-invalid=true]").first.wait_for()
    assert violations(page, axe) == []
    page.get_by_role("button", name="Register an organization").click()
    assert violations(page, axe) == []


def test_axe_detects_a_missing_label(page, axe):
    page.goto("dashboard")
    page.get_by_label("Password").evaluate("input => document.querySelector(`label[for=${input.id}]`).remove()")

    assert [violation.split()[0] for violation in violations(page, axe)] == ["label-title-only", "label"]


def test_stored_scripts_never_run(enter, manager):
    """A script is stored in every text field and shown in every view."""
    ask = manager.ask
    organization = manager.user["organization_id"]
    ask("PATCH", f"/organizations/{organization}", {"name": SCRIPT})
    ask("PATCH", "/auth/me", {"name": SCRIPT})
    usage = {"usage_type_id": 100, "usage_at": "2022-01-10T12:00:00Z", "amount": "10"}
    usage = ask("POST", "/usages", usage | {"note": SCRIPT, "external_id": SCRIPT})
    ask("PATCH", f"/usages/{usage['id']}", {"amount": "11", "reason": SCRIPT})
    factor = {"factor": "0.1", "valid_from": "2022-01-01T00:00:00Z", "source": SCRIPT, "note": SCRIPT}
    ask("POST", "/usage-types/100/factors", factor)
    ask("POST", "/restatements", {"usage_type_ids": [100], "reason": SCRIPT, "mode": "apply"})
    page = enter(manager, group_by="user")

    expect(page.get_by_label("Legend").or_(page.locator(".account")).first).to_contain_text("<script>")
    for view in VIEWS:
        page.goto(f"dashboard?view={view}&usage_type_id=100&group_by=user&start={SCRIPT}")
        wait_until_idle(page)
        assert page.evaluate("window.ran") is None, view
    page.goto("dashboard?view=restatements")
    expect(page.locator(".results tbody")).to_contain_text(SCRIPT)
    page.goto("dashboard?view=usages")
    expect(page.locator(".results tbody")).to_contain_text(SCRIPT)
    page.get_by_role("button", name="kg: explain").click()
    expect(page.get_by_role("dialog")).to_contain_text(SCRIPT)
    page.goto("dashboard?view=imports")
    content = f'"{SCRIPT}",amount\n"{SCRIPT}",2\n'.encode()
    page.set_input_files("#import-file", {"name": f"{SCRIPT[:8]}.csv", "mimeType": "text/csv", "buffer": content})
    page.get_by_label("Time", exact=True).select_option(SCRIPT)
    page.get_by_label("Default usage type").select_option("electricity (kwh)")
    page.get_by_role("button", name="Preview").click()
    expect(page.locator(".outcome tbody")).to_contain_text("<script>")
    assert page.evaluate("window.ran") is None


def test_chosen_theme_survives_a_reload(page):
    page.emulate_media(color_scheme="light")
    page.goto("dashboard")

    page.get_by_role("button", name="Dark").click()
    page.reload()

    expect(page.get_by_role("button", name="Dark")).to_have_attribute("aria-pressed", "true")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_keyboard_suffices_to_log_in_and_change_view(page, manager):
    page.goto("dashboard")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.get_by_label("E-mail address").focus()
    page.keyboard.type(manager.email)
    page.keyboard.press("Tab")
    page.keyboard.type("unrelated words make good ones")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Catalogue").focus()
    page.keyboard.press("Enter")

    expect(page.get_by_role("heading", level=1)).to_have_text("Catalogue")
    expect(page.get_by_role("heading", level=1)).to_be_focused()
