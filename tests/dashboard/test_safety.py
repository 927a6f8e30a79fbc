"""Who can use the dashboard, and who cannot misuse it: axe-core finds nothing, stored scripts run nowhere.

`make browser` runs this, and fetches axe-core.
"""

import hashlib
from pathlib import Path

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser
AXE = Path(__file__).parents[2] / ".venv/axe/package/axe.min.js"
AXE_SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
VIEWS = ("emissions", "usages", "imports", "catalogue", "restatements", "users")
SCRIPT = "<script>window.ran = true</script><img src=x onerror='window.ran = true'>"


@pytest.fixture(scope="session")
def axe():
    assert AXE.exists(), "Run `make browser`, which fetches axe-core."
    content = AXE.read_bytes()
    assert hashlib.sha256(content).hexdigest() == AXE_SHA256
    return content.decode()


def faults(page, axe):
    """What axe-core finds, as its rule and where. The browser's own protocol runs it, whom no policy binds."""
    protocol = page.context.new_cdp_session(page)
    protocol.send("Runtime.evaluate", {"expression": axe})
    run = "axe.run().then(found => found.violations.flatMap(one => one.nodes.map(node => `${one.id} ${node.html}`)))"
    answer = protocol.send("Runtime.evaluate", {"expression": run, "awaitPromise": True, "returnByValue": True})
    return answer["result"].get("value", answer)


def settled(page):
    page.locator("[aria-busy=true]").first.wait_for(state="detached")
    page.evaluate("Promise.all(document.getAnimations().map(one => one.finished)).then(() => null)")


@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_and_nothing_sticks_out(enter, household, axe, scheme, width):
    estimate = {"usage_type_id": 100, "usage_at": "2022-05-10T00:00:00Z", "amount": "6", "quality": "estimated"}
    household.ask("POST", "/usages", estimate)
    page = enter(household)
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)
    expect(page.locator("html")).to_have_attribute("data-theme", scheme)

    for view in VIEWS:
        page.goto(f"/dashboard?view={view}&compare=previous_year" if view == "emissions" else f"/dashboard?view={view}")
        page.locator(".bar, .results table, .types table, .results .empty").first.wait_for()
        settled(page)
        if view == "emissions":
            page.get_by_text("The same numbers as a table").click()
            page.locator(".bar").first.focus()
        if view == "catalogue":
            page.get_by_role("button", name="Factors of water (kg)").click()
            page.locator(".factors table").wait_for()
        if view == "imports":
            file = {"name": "a.csv", "mimeType": "text/csv", "buffer": b"start,value\n2022-02-01T10:00:00Z,x\n"}
            page.set_input_files("#import-file", file)
            page.get_by_label("Usage type, where no column tells").select_option("electricity (kwh)")
            page.get_by_role("button", name="Look at it").click()
            page.locator(".outcome table").wait_for()
        assert faults(page, axe) == [], view
        assert page.evaluate("document.documentElement.scrollWidth") <= width, view

    page.goto("/dashboard?view=usages")
    for opener in ("Add a usage", "how it came about", "Delete the usage"):
        page.get_by_role("button", name=opener).first.click()
        page.get_by_role("dialog").wait_for()
        settled(page)
        assert faults(page, axe) == [], opener
        page.get_by_role("button", name="Close").click()


def test_axe_finds_nothing_at_the_door(page, axe):
    page.goto("/dashboard")
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.locator("[aria-invalid=true]").first.wait_for()
    assert faults(page, axe) == []
    page.get_by_role("button", name="Register an organization").click()
    assert faults(page, axe) == []


def test_axe_would_have_found_something(page, axe):
    page.goto("/dashboard")
    page.get_by_label("Password").evaluate("input => document.querySelector(`label[for=${input.id}]`).remove()")

    assert [fault.split()[0] for fault in faults(page, axe)] == ["label-title-only", "label"]


def test_a_stored_script_runs_nowhere(enter, manager):
    """It is written into every text that anybody can store, and shown wherever that is."""
    ask = manager.ask
    organization = manager.user["organization_id"]
    ask("PATCH", f"/organizations/{organization}", {"name": SCRIPT})
    ask("PATCH", "/auth/me", {"name": SCRIPT})
    usage = {"usage_type_id": 100, "usage_at": "2022-01-10T12:00:00Z", "amount": "10"}
    written = ask("POST", "/usages", usage | {"note": SCRIPT, "external_id": SCRIPT})
    ask("PATCH", f"/usages/{written['id']}", {"amount": "11", "reason": SCRIPT})
    factor = {"factor": "0.1", "valid_from": "2022-01-01T00:00:00Z", "source": SCRIPT, "note": SCRIPT}
    ask("POST", "/usage-types/100/factors", factor)
    ask("POST", "/restatements", {"usage_type_id": 100, "reason": SCRIPT, "mode": "apply"})
    page = enter(manager, group_by="user")

    expect(page.get_by_label("Legend").or_(page.locator(".who")).first).to_contain_text("<script>")
    for view in VIEWS:
        page.goto(f"/dashboard?view={view}&usage_type_id=100&group_by=user&start={SCRIPT}")
        settled(page)
        assert page.evaluate("window.ran") is None, view
    page.goto("/dashboard?view=restatements")
    expect(page.locator(".results tbody")).to_contain_text(SCRIPT)
    page.goto("/dashboard?view=usages")
    expect(page.locator(".results tbody")).to_contain_text(SCRIPT)
    page.get_by_role("button", name="how it came about").click()
    expect(page.get_by_role("dialog")).to_contain_text(SCRIPT)
    page.goto("/dashboard?view=imports")
    content = f'"{SCRIPT}",amount\n"{SCRIPT}",2\n'.encode()
    page.set_input_files("#import-file", {"name": f"{SCRIPT[:8]}.csv", "mimeType": "text/csv", "buffer": content})
    page.get_by_label("Time", exact=True).select_option(SCRIPT)
    page.get_by_label("Usage type, where no column tells").select_option("electricity (kwh)")
    page.get_by_role("button", name="Look at it").click()
    expect(page.locator(".outcome tbody")).to_contain_text("<script>")
    assert page.evaluate("window.ran") is None


def test_light_or_dark_can_be_chosen_and_is_kept(page):
    page.emulate_media(color_scheme="light")
    page.goto("/dashboard")

    page.get_by_role("button", name="Dark").click()
    page.reload()

    expect(page.get_by_role("button", name="Dark")).to_have_attribute("aria-pressed", "true")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_the_keyboard_alone_gets_from_the_door_to_a_view(page, manager):
    page.goto("/dashboard")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.get_by_label("E-mail address").focus()
    page.keyboard.type(manager.email)
    page.keyboard.press("Tab")
    page.keyboard.type("unrelated words make good ones")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Catalogue").focus()
    page.keyboard.press("Enter")

    expect(page.get_by_role("heading", level=1)).to_have_text("Catalogue")
    expect(page.get_by_role("heading", level=1)).to_be_focused()
