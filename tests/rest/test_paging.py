"""Lists in every order: numbered pages, cursors, and JSON written by PostgreSQL."""

import json
import re
from urllib.parse import parse_qsl, urlencode

import pytest

from carbonapi.auth import visible
from carbonapi.rest import page_query
from carbonapi.usages import views
from carbonapi.usages.models import Usage
from tests.support import factories
from tests.support.plans import plan_of
from tests.support.scale import examples

SORTS = re.compile(r"by default `(-?\w+)`")


@pytest.fixture
def lists(sign_in, stranger):
    """A manager of an organization with a few rows in every list; and each list's path, with its orders."""
    organization = factories.organization()
    manager = sign_in(factories.user(organization, "manager", name='"Ada" \\ Löve\tlace'))
    people = [factories.user(organization, name="Somebody") for _ in range(4)]
    usage_type = factories.usage_type(scope=2)
    for place, region in enumerate(("GB", None, "DE", None, "FR")):
        own = {"organization_id": organization.id, "region": region}
        factories.emission_factor(usage_type, f"1.{place}", f"200{place}-01-01", f"200{place + 1}-01-01", **own)
    for place in range(7):
        factories.usage(people[place % 4], f"{place // 2}.10", f"2024-01-0{1 + place // 3}", note="Ü\n\x7f '\"")
    for number in range(3):
        sign_in(manager.user)
        assert manager.post("/api-keys", json={"name": f"Key {number // 2}", "scope": "read"}).status_code == 201
    usage_id = manager.get("/usages").json[0]["id"]
    for amount in ("0.000001", 5, 6):
        manager.patch(f"/usages/{usage_id}", json={"amount": amount, "reason": "why"})
    for day in (1, 2, 3):
        line = f"usage_at,usage_type_id,amount\n2025-01-0{day}T00:00:00.00001Z,{usage_type.id},1\n"
        assert manager.post("/imports", data=line, content_type="text/csv").status_code == 201
        factories.emission_factor(
            usage_type, f"9.{day}", f"201{day}-01-01", f"201{day + 1}-01-01", organization_id=organization.id
        )
        assert manager.post("/closed-periods", json={"until": f"2023-01-0{day}T00:00:00Z"}).status_code == 201
        edition = {"publisher": f"Publisher {day % 2}", "edition": f"{day}", "published_on": "2025-06-10"}
        assert manager.post("/factor-sets", json=edition).status_code == 201
    for line in ("t_and_d", "wtt_generation"):
        body = {"line": line, "factor_type_id": factories.usage_type(unit=usage_type.unit).id}
        assert manager.post(f"/usage-types/{usage_type.id}/upstream-lines", json=body).status_code == 201
    restatement = {"usage_type_ids": [usage_type.id], "reason": "r", "mode": "apply"}
    factories.emission_factor(usage_type, "7", "2024-12-01", organization_id=organization.id)
    assert manager.post("/restatements", json=restatement).status_code == 201
    sites = [factories.site(organization) for _ in range(3)]
    _ = [factories.meter(site) for site in sites]
    bad = "usage_at,usage_type_id,amount\n2025-01-01T00:00:00Z,100,1\n" + "2025,100,x\n" * 3
    partial = manager.post("/imports?mode=partial", data=bad, content_type="text/csv").json
    ids = {
        "usage_id": usage_id, "user_id": people[0].id, "usage_type_id": usage_type.id, "import_id": partial["id"],
    }  # fmt: skip
    found = {}
    for path, methods in stranger.get("/openapi.json").json["paths"].items():
        for parameter in methods.get("get", {}).get("parameters", []):
            if parameter["name"] == "sort" and not path.endswith("/export"):
                address = re.sub(r"\{(\w+)\}", lambda name: str(ids[name[1]]), path.removeprefix("/api/v1"))
                names = parameter["schema"]["items"]["enum"]
                pairs = [f"{one},{other}" for one in names[:3] for other in names[2:5] if one != other]
                found[address] = [*names, *pairs[: examples(1, 9)]]
    return manager, found


def by_cursor(client, path, **query):
    """All rows of a list, and how many pages they took."""
    rows, pages, query = [], 0, {**query, "cursor": ""}
    while query is not None:
        answer = client.get(f"{path}?{urlencode(query)}")
        assert answer.status_code == 200, answer.text
        assert "X-Pagination" not in answer.headers
        rows += answer.json
        pages += 1
        following = re.search(r'\?([^>]*)>; rel="next"', answer.headers["Link"])
        query = dict(parse_qsl(following[1], keep_blank_values=True)) if following else None
    return rows, pages


def test_cursor_pages_match_numbered_pages_in_every_order(lists):
    client, found = lists
    assert len(found) >= 10
    checked = 0
    for path, sorts in found.items():
        whole = json.loads(client.get(f"{path}?page_size=1000").headers["X-Pagination"])["total"]
        assert whole >= 1, path
        for sort in sorts:
            by_number = client.get(f"{path}?sort={sort}&page_size=1000").json

            rows, pages = by_cursor(client, path, sort=sort, page_size=2)

            assert rows == by_number, (path, sort)
            assert pages == -(-whole // 2)
            checked += 1
    assert checked > 80


def test_postgresql_writes_the_same_json_as_the_schema(lists, monkeypatch):
    client, found = lists
    written = {path: client.get(f"{path}?page_size=1000").data for path in found}
    as_it_is = page_query.row_as_json
    fast, slow = [], []

    def by_schema(schema, model):
        (slow if as_it_is(schema, model) is None else fast).append(model.__tablename__)

    monkeypatch.setattr(page_query, "row_as_json", by_schema)
    monkeypatch.setattr(page_query, "_CACHED_PAGES", {})

    for path, body in written.items():
        assert client.get(f"{path}?page_size=1000").data == body, path
    # Three have JSONB, a factor set a date. `current` of a session and `prefix` of a key are no columns.
    assert sorted(slow) == ["api_keys", "audit_entries", "factor_sets", "imports", "restatements", "sessions"]
    assert len(fast) == len(found) - len(slow)


@pytest.mark.parametrize(
    "query",
    ["sort=amount", "sort=-usage_at&quality=measured", "", "page_size=1"],
)
def test_cursor_is_valid_for_its_own_filters_and_order_only(lists, query):
    client, _ = lists
    link = client.get("/usages?sort=-usage_at&page_size=2&cursor=").headers["Link"]
    cursor = re.search(r'cursor=([^>&]+)>; rel="next"', link)[1]

    same = client.get(f"/usages?sort=-usage_at&page_size=3&cursor={cursor}")
    other = client.get(f"/usages?{query}&cursor={cursor}")

    assert (same.status_code, len(same.json)) == (200, 3)
    assert other.status_code == 422
    assert list(other.json["errors"]["query"]) == ["cursor"]
    assert client.get(f"/users/{client.user.id}/usages?sort=-usage_at&cursor={cursor}").status_code == 422


@pytest.mark.parametrize("cursor", ["x", "%00", "AAAAAAAAAAAAAAAAWzFd", "A" * 5000, "é", "====", "W10"])
def test_invalid_cursor_is_422(as_member, cursor):
    answer = as_member.get(f"/usages?cursor={cursor}")

    assert answer.status_code == 422
    assert list(answer.json["errors"]["query"]) == ["cursor"]


def test_cursor_skips_and_repeats_no_rows_after_changes(lists):
    client, _ = lists
    first = client.get("/usages?sort=usage_at&page_size=4&cursor=")
    rest = re.search(r'\?([^>]*)>; rel="next"', first.headers["Link"])[1]
    expected = client.get("/usages?sort=usage_at&page_size=1000").json[4:]

    client.delete(f"/usages?id={first.json[0]['id']}&id={first.json[3]['id']}")
    factories.usage(client.user, "1", "2023-06-01")

    assert client.get(f"/usages?{rest.replace('page_size=4', 'page_size=1000')}").json == expected


def test_cursor_page_is_one_statement_with_an_index_scan(lists, statements, many_usages):
    client, _ = lists
    link = client.get("/usages?page_size=2&cursor=").headers["Link"]
    following = re.search(r'\?([^>]*)>; rel="next"', link)[1]
    statements.clear()

    client.get(f"/usages?{following}")

    asked = [statement for statement in statements if "FROM usages" in statement]
    assert len(asked) == 1
    assert "count(*)" not in asked[0]
    assert "OFFSET" not in asked[0]
    plan = plan_of(
        f"SELECT * FROM usages WHERE organization_id = {many_usages.organization_id} "
        "AND (usage_at, id) < ('2024-02-01Z', 7) ORDER BY usage_at DESC, id DESC LIMIT 51"
    )
    assert plan == [("Limit", None), ("Index Scan", "ix_usages_by_time")]


def test_view_body_runs_on_every_request(as_manager, monkeypatch):
    runs = []

    def visible_and_counted(model):
        runs.append(model)
        return visible(model)

    monkeypatch.setattr(views, "visible", visible_and_counted)

    answers = [as_manager.get("/usages?page_size=3") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert runs == [Usage, Usage, Usage]


@pytest.mark.parametrize(
    ("filters", "relations"),
    [
        (range(100, 101), ["first", "prev", "next", "last"]),
        (range(100, 145), ["prev", "next"]),
        (range(100, 10**15, 10**13), ["next"]),
    ],
)
def test_link_repeats_at_most_2_kb_of_query(as_member, filters, relations):
    for _ in range(3):
        as_member.post("/usages", json={"usage_type_id": 100, "usage_at": "2024-01-31T12:00:00Z", "amount": 1})
    query = "&".join(f"usage_type_id={id_}" for id_ in filters)

    answer = as_member.get(f"/usages?{query}&page_size=1&page=2")

    assert re.findall('rel="([a-z]+)"', answer.headers["Link"]) == relations
    assert len(query) > 2048 or len(answer.headers["Link"]) < 2300
    following = re.search('<([^>]*)>; rel="next"', answer.headers["Link"])[1]
    assert as_member.get(following).headers["X-Pagination"].startswith('{"total": 3, "total_pages": 3')
