"""Sessions in a browser: expiring tokens, and tabs that share them. `make browser` runs this."""

import pytest
from playwright.sync_api import expect

from tests.support.factories import PASSWORD, numbers

pytestmark = pytest.mark.browser


def count_refreshes(context):
    refreshes = []
    context.on("request", lambda request: refreshes.append(request) if request.url.endswith("/auth/refresh") else None)
    return refreshes


def test_registration_logs_in(page):
    page.goto("dashboard")

    page.get_by_role("button", name="Register an organization").click()
    expect(page.get_by_role("heading", name="Register")).to_be_focused()
    page.get_by_label("Organization").fill("Northwind House")
    page.get_by_label("Your name").fill("Ada Lovelace")
    page.get_by_label("E-mail address").fill("nobody")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Register", exact=True).click()
    expect(page.get_by_label("E-mail address")).to_have_accessible_description("Not a valid email address.")
    page.get_by_label("E-mail address").fill(f"ada{next(numbers)}@new.example.org")
    page.get_by_role("button", name="Register", exact=True).click()

    expect(page.get_by_text("Ada Lovelace, Northwind House")).to_be_visible()
    expect(page.get_by_text("No usages yet.")).to_be_visible()


def test_registration_sets_country_and_first_site(page, manager):
    page.goto("dashboard")
    page.get_by_role("button", name="Register an organization").click()
    email = f"ada{next(numbers)}@new.example.org"
    page.get_by_label("Country").fill("UK")
    page.get_by_label("Name of your first site").fill("Head office")
    page.get_by_label("Your name").fill("Ada Lovelace")
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Register", exact=True).click()
    expect(page.get_by_label("Country")).to_be_focused()
    expect(page.get_by_label("Country")).to_have_attribute("aria-invalid", "true")
    page.get_by_label("Country").fill("GB")
    page.get_by_role("button", name="Register", exact=True).click()

    expect(page.get_by_role("button", name="Log out")).to_be_visible()
    ada = type(manager)(manager.service, email).log_in()
    (organization,) = ada.ask("GET", "/organizations")
    assert organization["region"] == "GB"
    assert [site["name"] for site in ada.ask("GET", "/sites")] == ["Head office"]
    page.get_by_role("link", name="Usages").click()
    expect(page.get_by_label("Site")).to_be_visible()


def test_wrong_password_shows_an_error(page, manager):
    page.goto("dashboard")

    page.get_by_label("E-mail address").fill(manager.email)
    page.get_by_label("Password").fill("something else altogether")
    page.get_by_role("button", name="Log in", exact=True).click()

    expect(page.get_by_role("alert")).to_have_text("The e-mail address or the password is wrong.")


def test_requests_with_expired_token_share_one_refresh(enter, household, context):
    page = enter(household)
    page.locator(".bar").first.wait_for()
    refreshes = count_refreshes(context)
    requests = []

    def expire(route):
        # The first two have an invalid token.
        requests.append(route.request.url)
        headers = route.request.headers | ({"authorization": "Bearer expired"} if len(requests) <= 2 else {})
        route.continue_(headers=headers)

    page.route("**/api/v1/emissions/**", expire)
    page.get_by_label("Buckets").select_option("Weeks")

    expect(page.locator(".bar")).to_have_count(14)
    assert len(requests) == 4
    assert len(refreshes) == 1


def test_session_survives_reloads_in_two_tabs(enter, household, context):
    page = enter(household)
    page.locator(".bar").first.wait_for()
    other = context.new_page()
    other.goto("dashboard")
    for _ in range(2):
        page.reload(wait_until="commit")
        other.reload(wait_until="commit")

    expect(page.locator(".bar")).to_have_count(4)
    expect(other.locator(".bar")).to_have_count(4)
    (session,) = [each for each in household.ask("GET", "/auth/sessions") if not each["current"]]
    assert session["expires_at"] > session["started_at"]


def test_logout_ends_the_session_in_every_tab(enter, household, context):
    page = enter(household)
    other = context.new_page()
    other.goto("dashboard")
    other.locator(".bar").first.wait_for()

    page.get_by_role("button", name="Log out").click()

    expect(page.get_by_role("heading", name="Log in")).to_be_focused()
    expect(page.get_by_text("Your session has ended.")).to_have_count(0)
    expect(other.get_by_text("Your session has ended.")).to_be_visible()
    assert page.evaluate("localStorage.getItem('carbonapi-refresh-token')") is None
    assert [session["current"] for session in household.ask("GET", "/auth/sessions")] == [True]


def test_session_ended_elsewhere_requires_a_new_login(enter, household):
    page = enter(household, "usages")
    page.locator(".results tbody tr").first.wait_for()
    (own,) = [session for session in household.ask("GET", "/auth/sessions") if not session["current"]]
    household.ask("DELETE", f"/auth/sessions/{own['id']}")
    page.reload()

    expect(page.get_by_text("Your session has ended.")).to_be_visible()
    page.get_by_label("E-mail address").fill(household.email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in", exact=True).click()

    expect(page.get_by_role("heading", name="Usages")).to_be_visible()


def end_session(user):
    (own,) = [session for session in user.ask("GET", "/auth/sessions") if not session["current"]]
    user.ask("DELETE", f"/auth/sessions/{own['id']}")


def test_ended_session_keeps_the_form(enter, manager):
    page = enter(manager, "usages")
    page.get_by_role("button", name="Add a usage").click()
    page.get_by_label("Amount").fill("7")
    page.get_by_label("Note").fill("Main meter")
    end_session(manager)

    page.get_by_role("button", name="Add", exact=True).click()
    dialog = page.get_by_role("dialog", name="Log in again")
    expect(dialog.get_by_label("E-mail address")).to_have_value(manager.email)
    dialog.get_by_label("Password").fill("something else altogether")
    dialog.get_by_role("button", name="Log in").click()
    expect(dialog.get_by_role("alert")).to_contain_text("password is wrong")
    dialog.get_by_label("Password").fill(PASSWORD)
    dialog.get_by_role("button", name="Log in").click()

    expect(page.locator(".results tbody tr")).to_contain_text("Main meter")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert [usage["amount"] for usage in manager.ask("GET", "/usages")] == [7]


def test_canceled_login_keeps_the_form_too(enter, manager):
    page = enter(manager, "usages")
    page.get_by_role("button", name="Add a usage").click()
    page.get_by_label("Amount").fill("7")
    end_session(manager)

    page.get_by_role("button", name="Add", exact=True).click()
    page.get_by_role("dialog", name="Log in again").get_by_role("button", name="Cancel").click()

    expect(page.get_by_role("alert")).to_contain_text("Your session has ended. Log in again.")
    expect(page.get_by_label("Amount")).to_have_value("7")
    page.get_by_role("button", name="Add", exact=True).click()
    page.get_by_role("dialog", name="Log in again").get_by_role("button", name="Use another account").click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_session_end_in_one_tab_keeps_forms_in_others(enter, manager, context):
    page = enter(manager, "usages")
    other = context.new_page()
    other.goto("dashboard?view=usages")
    other.get_by_role("button", name="Add a usage").click()
    other.get_by_label("Amount").fill("7")
    end_session(manager)

    page.get_by_role("link", name="Emissions").click()
    page.get_by_role("dialog", name="Log in again").get_by_label("Password").fill(PASSWORD)
    page.get_by_role("dialog", name="Log in again").get_by_role("button", name="Log in").click()
    expect(page.get_by_text("No usages yet.")).to_be_visible()
    other.get_by_role("button", name="Add", exact=True).click()

    expect(other.locator(".results tbody tr")).to_have_count(1)
    assert [usage["amount"] for usage in manager.ask("GET", "/usages")] == [7]
