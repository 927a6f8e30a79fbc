"""The service behind a real PgBouncer in transaction mode, whose connections all organizations share."""

import csv
import io
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from carbonapi.serving.supervisor import serve
from tests.attack import matrix
from tests.attack.document import operations_of
from tests.attack.service import attacked
from tests.support import factories
from tests.support.apps import NO_RATE_LIMITS, SECRET_KEY
from tests.support.databases import ROLE, as_owner, cloned_database, execute
from tests.support.pgbouncer import POOL_SIZE, pgbouncer
from tests.support.processes import wait_until
from tests.support.servers import free_port, serving

pytestmark = pytest.mark.pgbouncer
ORGANIZATIONS = 8
ROUNDS = 12  # Of ten requests each: 960 for all organizations.


class Organization:
    """A manager of a new organization. `amounts` are those of its usages, by id, as they must be."""

    def __init__(self, url, number):
        self.url, self.number = f"{url}/api/v1", number
        self.requests, self.wrong, self.amounts, self.factor = 0, [], {}, 1.5
        self.session = requests.Session()
        account = {"email": f"manager{number}@example.org", "password": factories.PASSWORD}
        registration = account | {"name": f"Manager {number}", "organization": f"Organization {number}"}
        self.user = self.session.post(f"{self.url}/auth/register", json=registration).json()
        token = self.session.post(f"{self.url}/auth/login", json=account).json()["access_token"]
        self.session.headers["Authorization"] = f"Bearer {token}"

    def ask(self, method, path, status, expected=None, read=lambda response: None, **options):
        """Send a request, and note a wrong status or a wrong part of the answer. Return the response."""
        self.requests += 1
        response = self.session.request(method, f"{self.url}{path}", timeout=60, **options)
        found = read(response) if response.status_code == status else response.text
        if (response.status_code, found) != (status, expected):
            self.wrong.append((self.number, method, path, response.status_code, found, expected))
        return response

    def get(self, path):
        return self.session.get(f"{self.url}{path}").json()

    def record(self, amount):
        body = {"usage_type_id": 100, "usage_at": "2024-01-31T12:00:00Z", "amount": amount}
        owner = (self.user["organization_id"], self.user["id"])
        answer = self.ask("POST", "/usages", 201, owner, owner_of, json=body)
        if answer.status_code == 201:
            self.amounts[answer.json()["id"]] = amount
        return answer.json().get("id", 0)

    def work(self, _):
        """Send ten requests with known answers."""
        first, second = self.record(self.number), self.record(10)
        changed = {"amount": self.number + 100}
        self.ask("PATCH", f"/usages/{first}", 200, changed["amount"], lambda r: r.json()["amount"], json=changed)
        self.amounts[first] = changed["amount"]
        self.ask("DELETE", f"/usages/{second}", 204)
        self.amounts.pop(second, None)
        self.ask("GET", f"/usages/{first}", 200, (self.user["organization_id"], self.user["id"]), owner_of)
        self.check_all()
        self.ask("GET", "/auth/me", 200, self.user["id"], lambda r: r.json()["id"])

    def check_all(self):
        """Compare the list, the summary, the organization and the export with what is in the ledger."""
        self.ask("GET", "/usages?page_size=1000", 200, self.amounts, amounts_of)
        total = (len(self.amounts), sum(self.amounts.values()) * self.factor)
        self.ask("GET", "/emissions/summary", 200, total, lambda r: (r.json()["usage_count"], r.json()["co2e_kg"]))
        own = [self.user["organization_id"]]
        self.ask("GET", "/organizations", 200, own, lambda r: [each["id"] for each in r.json()])
        self.ask("GET", "/usages/export?format=csv", 200, self.amounts, amounts_of_csv)


def owner_of(response):
    return response.json()["organization_id"], response.json()["user_id"]


def amounts_of(response):
    return {usage["id"]: usage["amount"] for usage in response.json()}


def amounts_of_csv(response):
    return {int(row["id"]): int(row["amount"]) for row in csv.DictReader(io.StringIO(response.text))}


@pytest.fixture(scope="module")
def pooled_url(module_database_url):
    with pgbouncer(module_database_url) as url:
        yield url


@pytest.fixture(scope="module")
def service(pooled_url):
    with serving(pooled_url, SECRET_KEY, workers=2, LOG_LEVEL="error", **NO_RATE_LIMITS) as url:
        yield url


@pytest.fixture(scope="module")
def organizations(service):
    return [Organization(service, number) for number in range(ORGANIZATIONS)]


def test_eight_organizations_get_no_wrong_answer(organizations, module_database_url):
    with ThreadPoolExecutor(ORGANIZATIONS) as threads:
        for _ in range(ROUNDS):
            list(threads.map(Organization.work, organizations, range(ORGANIZATIONS)))

    assert [wrong for organization in organizations for wrong in organization.wrong] == []
    assert sum(organization.requests for organization in organizations) == ORGANIZATIONS * ROUNDS * 10
    assert 1 < connections_to(module_database_url) <= POOL_SIZE


def connections_to(database_url):
    """Return the number of the service role's connections to the database itself."""
    engine = sa.create_engine(as_owner(database_url), poolclass=sa.NullPool)
    with engine.connect() as connection:
        query = sa.text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = :role")
        return connection.scalar(query, {"role": ROLE})


def test_imports_reverts_and_restatements_pass(organizations):
    with ThreadPoolExecutor(ORGANIZATIONS) as threads:
        list(threads.map(import_revert_and_restate, organizations))

    assert [wrong for organization in organizations for wrong in organization.wrong] == []


def import_revert_and_restate(organization):
    """Import a file directly and another one queued, revert one of them, and restate with a factor of one's own."""
    before, amount = dict(organization.amounts), organization.number + 1
    for day, prefer in ((1, {}), (2, {"Prefer": "respond-async"})):
        rows = "".join(f"2024-03-{day:02}T{hour:02}:00:00Z,{amount}\n" for hour in range(24))
        options = {"data": f"usage_at,amount\n{rows}", "headers": {"Content-Type": "text/csv"} | prefer}
        answer = organization.ask("POST", "/imports?usage_type_id=100", 202 if prefer else 201, **options)
        path = f"/imports/{answer.json()['id']}"
        wait_until(lambda path=path: organization.get(path)["status"] not in ("queued", "running"), 60)
        organization.ask("GET", path, 200, ("completed", 24), lambda r: (r.json()["status"], r.json()["new_count"]))
    organization.ask("POST", f"{path}/revert", 200, json={"reason": "twice"})

    organization.amounts = {usage["id"]: usage["amount"] for usage in organization.get("/usages?page_size=1000")}
    imported = [organization.amounts[usage_id] for usage_id in organization.amounts.keys() - before.keys()]
    if imported != [amount] * 24:
        organization.wrong.append((organization.number, "imported", imported))
    organization.check_all()

    factor = {"factor": organization.number + 2, "valid_from": "1900-01-01T00:00:00Z", "source": "a supplier"}
    organization.ask("POST", "/usage-types/100/factors", 201, json=factor)
    restatement = {"usage_type_ids": [100], "reason": "a supplier's factor", "mode": "apply"}
    changed = len(organization.amounts)
    organization.ask("POST", "/restatements", 201, changed, lambda r: r.json()["usage_count"], json=restatement)
    organization.factor = factor["factor"]
    organization.check_all()


def test_strangers_get_nothing(server_url):
    """The attacks of strangers and of every role at every operation."""
    with cloned_database(server_url, "pooledattack") as database_url, pgbouncer(database_url) as pooled_url:
        superuser_url = make_url(server_url).set(database=make_url(database_url).database)
        with attacked(pooled_url, superuser_url.render_as_string(hide_password=False)) as service:
            operations = operations_of(service)
            access = matrix.run(service, operations)

    assert access.failures == []
    assert access.reached == {operation.id for operation in operations}


def test_request_without_a_free_connection_is_503(module_database_url):
    with (
        pgbouncer(module_database_url, pool_size=1, wait_seconds=1) as pooled_url,
        serving(pooled_url, SECRET_KEY, LOG_LEVEL="error") as url,
    ):
        organization = Organization(url, ORGANIZATIONS)
        with sa.create_engine(pooled_url, poolclass=sa.NullPool).begin() as holder:
            holder.execute(sa.text("SELECT 1"))
            busy = organization.session.get(f"{organization.url}/usages")
        organization.check_all()

    assert (busy.status_code, "Retry-After" in busy.headers) == (503, True)
    assert organization.wrong == []


def test_migration_through_the_pooler_is_rejected(server_url, capfd):
    """Not when there is nothing to do: the other tests start without the address of PostgreSQL itself."""
    with cloned_database(server_url, "pooledmigration") as database_url:
        execute(as_owner(database_url), "UPDATE alembic_version SET version_num = 'imports_by_file'")
        with pgbouncer(database_url) as pooled_url:
            environ = {"CARBONAPI_DATABASE_URL": as_owner(pooled_url), "CARBONAPI_SECRET_KEY": SECRET_KEY}
            code = serve("127.0.0.1", free_port(), 1, 1, 0, environ)

    assert code == 1
    assert "through a connection pooler. Set CARBONAPI_MIGRATION_DATABASE_URL to" in capfd.readouterr().err
