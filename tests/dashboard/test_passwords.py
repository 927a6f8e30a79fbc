"""Invitations, password links and new passwords in a browser. `make browser` runs this."""

import pytest
from playwright.sync_api import expect

from tests.support.factories import PASSWORD, numbers

pytestmark = pytest.mark.browser
NEW_PASSWORD = "quite other words for a change"


@pytest.fixture
def grace(manager):
    email = f"grace{next(numbers)}@example.org"
    manager.ask("POST", "/users", {"email": email, "password": PASSWORD, "name": "Grace Hopper", "role": "member"})
    return type(manager)(manager.service, email)


def set_password(page, link):
    page.goto(link)
    page.get_by_label("New password").fill(NEW_PASSWORD)
    page.get_by_role("button", name="Set password").click()


def log_in(page, email, password):
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in", exact=True).click()


def test_invited_user_sets_a_password_by_the_shown_link(enter, manager, chromium_browser):
    email = f"grace{next(numbers)}@example.org"
    page = enter(manager, "users")
    page.get_by_role("button", name="Add a user").click()
    page.get_by_label("Name", exact=True).fill("Grace Hopper")
    page.get_by_label("E-mail address").fill(email)
    page.get_by_role("button", name="Add", exact=True).click()
    dialog = page.get_by_role("dialog", name="Link for Grace Hopper")
    expect(dialog).to_contain_text("shown only now")
    link = dialog.get_by_label("Link").input_value()
    assert link.startswith(f"{manager.service}/dashboard#token=carbonapi-password_")
    dialog.get_by_role("button", name="Copy").click()
    expect(dialog).to_contain_text("opied")
    dialog.get_by_role("button", name="Close").last.click()
    expect(page.locator(".results")).to_contain_text(email)

    other = chromium_browser.new_context()
    invited = other.new_page()
    set_password(invited, link)
    expect(invited.get_by_text("Your password is set.")).to_be_visible()
    assert "token" not in invited.url
    log_in(invited, email, NEW_PASSWORD)
    expect(invited.get_by_text("Grace Hopper, Northwind House")).to_be_visible()
    set_password(invited, link)
    expect(invited.get_by_role("alert")).to_contain_text("This token is unknown, used or expired.")
    other.close()


def test_password_link_is_made_again(enter, manager, grace):
    page = enter(manager, "users")
    links = []
    for _ in range(2):
        page.get_by_role("button", name="Password link for Grace Hopper").click()
        page.get_by_role("button", name="Create a link").click()
        links.append(page.get_by_label("Link", exact=True).input_value())
        page.get_by_role("button", name="Close").last.click()
        expect(page.get_by_role("button", name="Password link for Grace Hopper")).to_be_focused()
    assert links[0] != links[1]

    # The manager's own session in this browser must not be taken for Grace's.
    set_password(page, links[1])
    expect(page.get_by_text("Your password is set.")).to_be_visible()
    log_in(page, grace.email, NEW_PASSWORD)
    expect(page.get_by_text("Grace Hopper, Northwind House")).to_be_visible()


def test_login_page_explains_forgotten_passwords(page):
    page.goto("dashboard")

    page.get_by_role("button", name="Forgot your password?").click()
    expect(page.get_by_role("heading", name="Forgot your password?")).to_be_focused()
    expect(page.locator("main")).to_contain_text("Ask a manager of your organization for a password link.")
    page.get_by_role("button", name="Back to the login").click()

    expect(page.get_by_role("heading", name="Log in")).to_be_focused()


def test_own_password_is_changed(enter, grace):
    page = enter(grace, "settings")
    expect(page.get_by_label("Time zone")).to_have_count(0)

    page.get_by_role("button", name="Save").click()
    expect(page.get_by_label("Current password")).to_be_focused()
    page.get_by_label("Current password").fill(PASSWORD)
    page.get_by_label("New password").fill(NEW_PASSWORD)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.").last).to_be_visible()
    page.get_by_role("button", name="Log out").click()
    log_in(page, grace.email, NEW_PASSWORD)

    expect(page.get_by_role("heading", name="Settings")).to_be_visible()
