"""Versions of usages, and every answer as of a moment in the past."""

import datetime as dt
from urllib.parse import quote

import pytest

from carbonapi.rest.fields import format_datetime
from tests.support import factories
from tests.support.client import query_now

USAGE = {"usage_type_id": 100, "usage_at": "2024-01-31T12:00:00Z", "amount": 2}


def test_versions_contain_their_time_author_and_reason(as_member, as_manager):
    path = as_member.post("/usages", json=USAGE).headers["Location"]
    as_manager.patch(path, json={"amount": 3, "reason": "The meter was read again."})
    as_member.put(path, json=USAGE | {"usage_type_id": 101})
    assert as_manager.delete(f"{path}?reason=It%20was%20a%20mistake.").status_code == 204

    versions = as_member.get(f"{path}/versions").json

    member, manager = as_member.user.id, as_manager.user.id
    names = (
        "version",
        "amount",
        "usage_type_id",
        "factor",
        "co2e_kg",
        "recorded_by",
        "reason",
        "superseded_by",
        "superseded_reason",
    )
    assert [tuple(version[name] for name in names) for version in versions] == [
        (1, 2, 100, 1.5, 3, member, None, manager, "The meter was read again."),
        (2, 3, 100, 1.5, 4.5, manager, "The meter was read again.", member, None),
        (3, 2, 101, 26.93, 53.86, member, None, manager, "It was a mistake."),
    ]
    assert [version["deleted"] for version in versions] == [False, False, True]
    assert [version["superseded_at"] for version in versions[:-1]] == [
        version["recorded_at"] for version in versions[1:]
    ]


def test_current_version_is_the_last(as_member, as_other_manager):
    usage = as_member.post("/usages", json=USAGE)
    path = usage.headers["Location"]

    assert as_member.get(f"{path}/versions").json == [
        usage.json | {"superseded_at": None, "superseded_by": None, "superseded_reason": None, "deleted": None}
    ]
    assert as_other_manager.get(f"{path}/versions").status_code == 404
    assert as_member.get("/usages/987654321/versions").status_code == 404


def test_correction_without_changes_archives_nothing(as_member):
    path = as_member.post("/usages", json=USAGE).headers["Location"]

    assert as_member.patch(path, json={"amount": 2.0, "reason": "none"}).json["reason"] is None
    assert len(as_member.get(f"{path}/versions").json) == 1


def test_bulk_delete_has_one_time_and_one_reason(as_member):
    ids = [as_member.post("/usages", json=USAGE).json["id"] for _ in range(3)]

    assert as_member.delete(f"/usages?id={ids[0]}&id={ids[1]}&id={ids[2]}&reason=twice").status_code == 204

    for id_ in ids:
        assert [version["superseded_reason"] for version in as_member.get(f"/usages/{id_}/versions").json] == ["twice"]


@pytest.mark.parametrize("path", ["/usages/{}", "/usages?id={}"])
def test_reason_of_a_deletion_can_be_in_the_body(as_member, path):
    id_ = as_member.post("/usages", json=USAGE).json["id"]
    path, query = path.format(id_), "&" if "?" in path else "?"
    for more, body, location, field in (
        ("", {"reason": "x", "id": 7}, "json", "id"),
        ("", {"reasn": "x"}, "json", "reasn"),
        ("", ["x"], "json", "_schema"),
        (f"{query}reason=y", {"reason": "x"}, "query", "reason"),
        ("", {"reason": 7}, "query", "reason"),
    ):
        rejected = as_member.delete(path + more, json=body)
        assert (rejected.status_code, list(rejected.json["errors"][location])) == (422, [field]), rejected.json
    assert as_member.delete(path, data="reason=x", content_type="application/x-www-form-urlencoded").status_code == 415
    assert as_member.delete(path, data="{", content_type="application/json").status_code == 400
    assert as_member.get(f"/usages/{id_}").status_code == 200

    assert as_member.delete(path, json={"reason": "read twice"}).status_code == 204

    assert [version["superseded_reason"] for version in as_member.get(f"/usages/{id_}/versions").json] == ["read twice"]


def test_other_deletions_take_no_body(as_manager, as_member):
    rejected = as_manager.delete(f"/users/{as_member.user.id}", json={"reason": "left"})

    assert (rejected.status_code, rejected.json["errors"]) == (422, {"json": {"reason": ["Unknown field."]}})
    assert as_manager.delete(f"/users/{as_member.user.id}", json={}).status_code == 204


def test_lists_and_figures_support_as_of(as_member):
    questions = (
        "/usages?sort=-amount&page_size=2",
        "/usages?usage_type_id=101",
        "/usages?start=2024-02-01",
        "/emissions/trend?bucket=month",
        "/emissions/trend?bucket=month&group_by=usage_type&start=2024-01-01&end=2024-06-01",
        "/emissions/summary",
        "/emissions/summary?quality=estimated",
        f"/users/{as_member.user.id}/usages?page_size=1&page=2",
    )

    def answers(as_of=None):
        suffix = f"as_of={as_of}" if as_of else ""
        collected = []
        for question in questions:
            answer = as_member.get(question + ("&" if "?" in question else "?") * bool(as_of) + suffix)
            assert answer.status_code == 200
            collected.append((answer.json, answer.headers.get("X-Pagination")))
        return collected

    past = [(query_now(), answers())]
    first = as_member.post("/usages", json=USAGE).json["id"]
    past.append((query_now(), answers()))
    second = as_member.post("/usages", json=USAGE | {"usage_at": "2024-03-01T00:00:00Z"}).json["id"]
    file = "usage_at,amount,quality\n2024-04-01T00:00:00Z,1,estimated\n2024-05-01T00:00:00Z,4,\n"
    as_member.post("/imports?usage_type_id=101", data=file, content_type="text/csv")
    past.append((query_now(), answers()))
    as_member.patch(f"/usages/{first}", json={"amount": 7, "quality": "estimated"})
    past.append((query_now(), answers()))
    as_member.patch(f"/usages/{first}", json={"usage_type_id": 101, "usage_at": "2024-05-05T00:00:00Z"})
    as_member.delete(f"/usages/{second}")
    past.append((query_now(), answers()))
    as_member.delete(f"/usages/{first}")
    past.append((query_now(), answers()))

    assert len({str(answer) for _, answer in past}) == len(past)
    for as_of, then in past:
        assert answers(as_of) == then


def test_single_usage_supports_as_of(as_member):
    before = query_now()
    usage = as_member.post("/usages", json=USAGE)
    path, recorded = usage.headers["Location"], query_now()
    corrected = as_member.patch(path, json={"amount": 3})
    after = query_now()
    as_member.delete(path)

    assert as_member.get(f"{path}?as_of={before}").status_code == 404
    then = as_member.get(f"{path}?as_of={recorded}")
    assert (then.json, then.headers["ETag"]) == (usage.json, '"1"')
    assert as_member.get(f"{path}?as_of={after}").json == corrected.json
    assert as_member.get(f"{path}?as_of={query_now()}").status_code == 404


def test_version_is_current_as_of_its_own_instant(as_member):
    usage = as_member.post("/usages", json=USAGE).json
    corrected = as_member.patch(f"/usages/{usage['id']}", json={"amount": 3}).json

    for version in (usage, corrected):
        assert as_member.get(f"/usages?as_of={quote(version['recorded_at'])}").json == [version]


def test_as_of_ignores_erased_users_and_archived_types(as_manager, as_member, as_admin):
    factories.usage(as_member.user, "2")
    questions = ("/usages", f"/usages?user_id={as_member.user.id}", "/emissions/trend")
    as_of = query_now()
    then = [as_manager.get(question).json for question in questions]

    as_manager.delete(f"/users/{as_member.user.id}")
    as_admin.patch("/usage-types/100", json={"archived": True})

    assert [as_manager.get(f"{q}{'&' if '?' in q else '?'}as_of={as_of}").json for q in questions] == then


@pytest.mark.parametrize("as_of", ["2024-01-01", "yesterday", "2024-01-01T00:00:00", "2199-01-01T00:00:00Z"])
def test_invalid_as_of_is_422(as_member, as_of):
    for path in ("/usages", "/usages/1", "/emissions/trend", "/emissions/summary"):
        answer = as_member.get(f"{path}?as_of={as_of}")
        assert (answer.status_code, list(answer.json["errors"]["query"])) == (422, ["as_of"])


def test_as_of_accepts_a_clock_that_is_slightly_ahead(as_member):
    usage = as_member.post("/usages", json=USAGE).json
    ahead = quote(format_datetime(factories.now() + dt.timedelta(seconds=1)))

    assert as_member.get(f"/usages?as_of={ahead}").json == [usage]


def test_version_is_read_by_its_key(as_member, as_auditor, as_other_manager):
    path = as_member.post("/usages", json=USAGE).headers["Location"]
    as_member.delete(path)
    as_of = quote(as_member.get(f"{path}/versions").json[0]["recorded_at"])

    assert len(as_auditor.get(f"/usages?as_of={as_of}").json) == 1
    assert as_other_manager.get(f"/usages?as_of={as_of}").json == []
    assert as_other_manager.get(f"{path}/versions").status_code == 404
