"""The users and rows of malformed requests: new ones for each operation."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass

from .document import numbers
from .service import PASSWORD

AT = "2024-01-01T00:00:00Z"
OTHER_PASSWORD = "quite other words for a change"
FILE = "usage_at,amount,external_id\n2024-01-01T00:00:00Z,1,import {number}\nno,lines,\n"
# Operations that can be done only once with a row.
CONSUMING = ("accept_invitation", "reopen_period", "revert_import", "supersede_emission_factor")


@dataclass
class Account:
    """A user with a token."""

    email: str
    user: dict
    token: str


def manager(service):
    """Return the manager of a new organization."""
    email = f"target{next(numbers)}@example.org"
    return Account(email, *service.register(email))


def admin(service):
    """Return a new admin, created by the command line."""
    email = f"target{next(numbers)}@example.org"
    environ = os.environ | {
        "CARBONAPI_DATABASE_URL": service.database_url,
        "CARBONAPI_SECRET_KEY": service.secret_key,
        "CARBONAPI_NEW_PASSWORD": PASSWORD,
    }
    options = ["--role", "admin", "--email", email, "--name", "Root", "--organization", f"Of {email}"]
    command = [sys.executable, "-m", "carbonapi.commands", "users", "add", *options]
    subprocess.run(command, env=environ, check=True, stdout=subprocess.DEVNULL)
    token = service.log_in(email)["access_token"]
    return Account(email, service.ask("GET", "/auth/me", token).json, token)


class Target:
    """A user who may do an operation, and the rows that its requests name.

    `ids` has the rows of path parameters, `fields` those of the body.
    """

    def __init__(self, service, operation, account):
        self.service, self.operation = service, operation
        self.email, self.user, self.token = account.email, account.user, account.token
        if operation.takes_refresh_token:
            self.token = service.log_in(self.email)["refresh_token"]
        self.ids, self.fields = {}, {}
        self._make()

    @property
    def id(self):
        """Return the row that a query must name."""
        return self.ids["usage_id" if self.operation.id == "delete_usages" else "user_id"]

    @property
    def address(self):
        return self.operation.path(self.ids)

    def renew(self, content, answer):
        """Replace what an accepted request has consumed."""
        operation = self.operation
        if operation.takes_refresh_token:
            self.token = answer.json["refresh_token"]
        elif operation.id in ("log_out", "end_session", "change_yourself"):
            if operation.id == "change_yourself":
                self.email = answer.json["email"]
            self.token = self.service.log_in(self.email)["access_token"]
            self._make()
        elif operation.id == "change_password":
            self.fields = {"current_password": json.loads(content)["new_password"], "new_password": OTHER_PASSWORD}
            if self.fields["current_password"] == OTHER_PASSWORD:
                self.fields["new_password"] = PASSWORD
        elif operation.id == "close_period":
            self._ask(
                "POST", f"/closed-periods/{answer.json['id']}/reopen", {"reason": "So that the next can be closed"}
            )
        elif operation.method == "DELETE" or operation.id in CONSUMING:
            self._make()

    def _make(self):
        """Create the rows that the operation needs."""
        required_ids = {*self.operation.path_ids}
        if "id" in self.operation.required:
            required_ids.add("usage_id" if self.operation.id == "delete_usages" else "user_id")
        for name in sorted(required_ids, reverse=True):  # The usage type comes before its factor.
            self.ids[name] = getattr(self, f"_{name}")()
        if self.operation.id == "accept_invitation":
            self.fields["token"] = self._ask("POST", f"/users/{self._user_id()}/reset", None)["token"]
        if self.operation.id == "log_in":
            self.fields = {"email": self.email, "password": PASSWORD}
        if self.operation.id in ("create_meter", "change_meter"):
            self.fields["site_id"] = self._site_id()
        if self.operation.id == "replace_sites_of_user":
            self.fields["site_ids"] = [self._site_id()]
        if self.operation.id == "restate_usages":
            self.fields["mode"] = "apply"

    def _ask(self, method, path, body):
        answer = self.service.ask(method, path, self.token, body)
        assert answer.status in range(200, 300), (path, answer.status, answer.text)
        return answer.json

    def _usage_id(self):
        return self._ask("POST", "/usages", {"usage_type_id": 100, "usage_at": AT, "amount": 1})["id"]

    def _user_id(self):
        email = f"user{next(numbers)}@example.org"
        body = {"email": email, "name": "A user", "role": "member", "password": PASSWORD}
        return self._ask("POST", "/users", body)["id"]

    def _site_id(self):
        return self._ask("POST", "/sites", {"name": f"Site {next(numbers)}"})["id"]

    def _meter_id(self):
        body = {"site_id": self._site_id(), "usage_type_id": 100, "name": f"Meter {next(numbers)}"}
        return self._ask("POST", "/meters", body)["id"]

    def _organization_id(self):
        if self.operation.id != "delete_organization":
            return self.user["organization_id"]
        return self._ask("POST", "/organizations", {"name": f"Organization {next(numbers)}"})["id"]

    def _usage_type_id(self):
        if self.operation.method == "GET":
            return 100
        return self._ask("POST", "/usage-types", {"name": f"Type {next(numbers)}", "unit": "kwh"})["id"]

    def _factor_id(self):
        if self.operation.method == "GET":
            return self._ask("GET", "/usage-types/100/factors", None)[0]["id"]
        body = {"factor": 2, "valid_from": AT, "source": "Ours"}
        return self._ask("POST", f"/usage-types/{self.ids['usage_type_id']}/factors", body)["id"]

    def _line_id(self):
        type_id = self._ask("POST", "/usage-types", {"name": f"Type {next(numbers)}", "unit": "kwh"})["id"]
        body = {"line": f"line_{next(numbers)}", "factor_type_id": type_id}
        return self._ask("POST", f"/usage-types/{self.ids['usage_type_id']}/upstream-lines", body)["id"]

    def _factor_set_id(self):
        body = {"publisher": "A publisher", "edition": f"Edition {next(numbers)}"}
        return self._ask("POST", "/factor-sets", body)["id"]

    def _import_id(self):
        path = "/imports?mode=partial&usage_type_id=100"
        answer = self.service.ask(
            "POST", path, self.token, content=FILE.format(number=next(numbers)).encode(), content_type="text/csv"
        )
        return answer.json["id"]

    def _restatement_id(self):
        self._usage_id()
        self._ask("POST", "/usage-types/100/factors", {"factor": 2, "valid_from": AT, "source": "Ours"})
        body = {"usage_type_ids": [100], "reason": "To be read", "mode": "apply"}
        return self._ask("POST", "/restatements", body)["id"]

    def _closed_period_id(self):
        return self._ask("POST", "/closed-periods", {"until": "1950-01-01T00:00:00Z"})["id"]

    def _api_key_id(self):
        return self._ask("POST", "/api-keys", {"name": "Key", "scope": "read"})["id"]

    def _session_id(self):
        self.service.log_in(self.email)
        return self._ask("GET", "/auth/sessions", None)[0]["id"]
