"""The audit log through HTTP: its entries, who sees them, and that they cannot be altered."""

import csv
import io
import json
import re

import pytest
import sqlalchemy as sa

from carbonapi.audit.models import AuditEntry
from carbonapi.auth import Actor, acting_as, visible
from carbonapi.db import db, row_security
from tests.support import factories
from tests.support.plans import plan_of

USAGE = {"usage_type_id": 100, "usage_at": "2024-01-31T12:00:00Z", "amount": 0.3}
FILE = "usage_at,amount\n2024-01-01T00:00:00Z,0.1\n2024-01-01T01:00:00Z,0.2\n"
ELSEWHERE = ("id", "organization_id", "occurred_at", "request_id")


@pytest.fixture
def entries(as_auditor):
    """Return a function that lists the entries of a subject as the auditor sees them, the oldest first."""

    def seen(subject, client=as_auditor, **filters):
        answer = client.get("/audit-entries", query_string={"subject": subject, "sort": "id"} | filters)
        assert answer.status_code == 200, answer.text
        return [{name: value for name, value in entry.items() if name not in ELSEWHERE} for entry in answer.json]

    return seen


def act(client, action, subject, subject_id, old=None, new=None, reason=None):
    """Return the expected entry of an act of this client."""
    return {
        "actor_id": client.user.id,
        "actor_role": client.user.role,
        "api_key_id": None,
        "action": action,
        "subject": subject,
        "subject_id": subject_id,
        "address": "127.0.0.1",
        "old": old,
        "new": new,
        "reason": reason,
    }


def test_usage_changes_have_values_before_and_after(as_member, entries):
    recorded = as_member.post("/usages", json=USAGE).json
    path = f"/usages/{recorded['id']}"
    as_member.patch(path, json={"amount": 0.4, "usage_at": "2024-02-01T00:00:00.5Z", "reason": "Misread"})
    as_member.delete(f"{path}?reason=Twice")

    whole = {
        name: value
        for name, value in recorded.items()
        if name not in ("id", "organization_id", "version", "recorded_at", "recorded_by", "reason")
    }
    assert (whole["amount"], whole["factor"], whole["co2e_kg"], len(whole)) == (0.3, 1.5, 0.45, 25)
    before = {"amount": 0.3, "amount_in_type_unit": 0.3, "co2e_kg": 0.45, "market_co2e_kg": 0.45}
    changed = {"amount": 0.4, "amount_in_type_unit": 0.4, "co2e_kg": 0.6, "market_co2e_kg": 0.6}
    assert entries("usage") == [
        act(as_member, "recorded", "usage", recorded["id"], new=whole),
        act(
            as_member,
            "corrected",
            "usage",
            recorded["id"],
            old=before | {"usage_at": "2024-01-31T12:00:00Z"},
            new=changed | {"usage_at": "2024-02-01T00:00:00.500000Z"},
            reason="Misread",
        ),
        act(
            as_member,
            "deleted",
            "usage",
            recorded["id"],
            old=whole | changed | {"usage_at": "2024-02-01T00:00:00.5Z"},
            reason="Twice",
        ),
    ]


def test_times_are_in_utc_whatever_the_zone_of_the_database(as_member, entries):
    db.session.execute(sa.text("SET LOCAL timezone = 'Asia/Kolkata'"))

    recorded = as_member.post("/usages", json=USAGE).json

    assert recorded["usage_at"] == "2024-01-31T12:00:00Z"
    assert entries("usage")[0]["new"]["usage_at"] == recorded["usage_at"]


def test_figures_keep_exact_digits(as_member, as_auditor):
    usage_id = as_member.post("/usages", json=USAGE | {"amount": "999999999999.999999"}).json["id"]
    as_member.patch(f"/usages/{usage_id}", json={"amount": "999999999999.999998"})

    corrected, recorded = as_auditor.get("/audit-entries?subject=usage").text.split('"action":"recorded"')

    assert '"co2e_kg":1499999999999.9999985' in recorded
    assert '"co2e_kg":1499999999999.9999985' in corrected and '"co2e_kg":1499999999999.999997' in corrected


def test_figures_beyond_64_bits_are_exact(as_member, as_auditor):
    usage_type = factories.usage_type(factor="999999999999")
    body = USAGE | {"usage_type_id": usage_type.id, "amount": 999999999999}
    usage_id = as_member.post("/usages", json=body).json["id"]
    assert as_member.patch(f"/usages/{usage_id}", json={"amount": 999999999998}).status_code == 200

    answer = as_auditor.get("/audit-entries?action=corrected")

    assert answer.status_code == 200, answer.text
    assert '"co2e_kg":999999999998000000000001' in answer.text
    assert '"co2e_kg":999999999997000000000002' in answer.text


def test_rejected_and_empty_changes_have_no_entry(as_manager, as_member, as_auditor):
    usage_id = as_member.post("/usages", json=USAGE).json["id"]
    user = f"/users/{as_member.user.id}"
    listed = as_auditor.get("/audit-entries").json

    assert as_member.patch(f"/usages/{usage_id}", json={"amount": 0.3}).status_code == 200
    assert as_manager.patch(user, json={"name": as_member.user.name, "active": True}).status_code == 200
    for answer in (
        as_member.post("/usages", json=USAGE | {"usage_type_id": 7}),
        as_member.patch(f"/usages/{usage_id}", json={"amount": 1}, headers={"If-Match": '"7"'}),
        as_manager.patch(user, json={"email": as_manager.user.email}),
        as_member.post("/imports?usage_type_id=100", data=FILE + "x,1\n", content_type="text/csv"),
        as_manager.patch(f"/organizations/{as_manager.user.organization_id}", json={"timezone": "Mars"}),
    ):
        assert answer.status_code in (409, 412, 422), answer.text

    assert as_auditor.get("/audit-entries").json == listed


def test_deleting_several_usages_writes_an_entry_each(app, as_member, entries, statements, monkeypatch, no_rate_limits):
    monkeypatch.setitem(app.config, "SESSION_CACHE_SECONDS", 5)
    ids = [factories.usage(as_member.user).id for _ in range(3)]
    as_member.get("/auth/me")
    statements.clear()

    assert as_member.delete("/usages", query_string={"id": ids, "reason": "Not ours"}).status_code == 204

    assert len(statements) == 5  # The last one refreshes the hours of their day.
    listed = entries("usage", action="deleted")
    assert [(entry["subject_id"], entry["old"]["co2e_kg"], entry["reason"]) for entry in listed] == [
        (id_, 1.5, "Not ours") for id_ in ids
    ]


def test_import_is_one_entry_with_count_and_sum(as_member, entries):
    imported = as_member.post("/imports?usage_type_id=100", data=FILE, content_type="text/csv").json

    new = {"usage_count": 2, "co2e_kg": 0.45, "sha256": imported["sha256"]}
    assert entries("import") == [act(as_member, "imported", "import", imported["id"], new=new)]
    assert entries("usage") == []


def test_restatement_is_one_entry_with_sums(as_manager, as_member, entries):
    for _ in range(2):
        as_member.post("/usages", json=USAGE)
    factor = {"factor": 1, "valid_from": "1900-01-01T00:00:00Z", "source": "Our supplier"}
    assert as_manager.post("/usage-types/100/factors", json=factor).status_code == 201
    ask = {"usage_type_ids": [100], "start": "2024-01-01T00:00:00Z", "reason": "Better factors"}

    as_manager.post("/restatements", json=ask)
    applied = as_manager.post("/restatements", json=ask | {"mode": "apply"}).json

    new = {
        "usage_type_ids": [100],
        "factor_set_id": None,
        "start": ask["start"],
        "end": None,
        "region": None,
        "site_id": None,
    }
    new |= {"usage_count": 2, "co2e_kg": 0.6, "market_co2e_kg": 0.6}
    old = {"co2e_kg": 0.9, "market_co2e_kg": 0.9}
    assert entries("restatement") == [
        act(as_manager, "restated", "restatement", applied["id"], old, new, "Better factors")
    ]
    assert [entry["action"] for entry in entries("usage")] == ["recorded", "recorded"]


def test_closing_and_reopening_a_period_are_audited(as_manager, entries):
    closed = as_manager.post("/closed-periods", json={"until": "2024-01-01T00:00:00Z", "note": "2023"}).json
    reopened = as_manager.post(f"/closed-periods/{closed['id']}/reopen", json={"reason": "A meter was left out."}).json

    new = {"until": "2024-01-01T00:00:00Z", "note": "2023", "reopened_at": None}
    assert entries("closed period") == [
        act(as_manager, "closed", "closed period", closed["id"], new=new),
        act(
            as_manager,
            "reopened",
            "closed period",
            closed["id"],
            {"reopened_at": None},
            {"reopened_at": reopened["reopened_at"]},
            "A meter was left out.",
        ),
    ]


def test_user_entries_omit_secrets_and_erased_data(as_manager, as_auditor, entries):
    grace = {"email": "grace@example.org", "name": "Grace", "role": "member", "password": factories.PASSWORD}
    user_id = as_manager.post("/users", json=grace).json["id"]
    as_manager.patch(f"/users/{user_id}", json={"role": "auditor"})
    as_manager.delete(f"/users/{user_id}")

    whole = {"email": "grace@example.org", "name": "Grace", "role": "member", "active": True}
    assert entries("user", subject_id=user_id) == [
        act(as_manager, "created", "user", user_id, new=whole),
        act(as_manager, "changed", "user", user_id, {"role": "member"}, {"role": "auditor"}),
        act(as_manager, "deleted", "user", user_id, old={"role": "auditor", "active": True}),
    ]


def test_erasing_several_users_writes_one_statement(as_manager, organization, entries, statements):
    ids = [factories.user(organization).id for _ in range(3)]
    statements.clear()

    assert as_manager.delete("/users", query_string={"id": ids}).status_code == 204

    assert [entry["subject_id"] for entry in entries("user", action="deleted")] == ids
    assert sum(statement.startswith("INSERT INTO audit_entries") for statement in statements) == 1


def test_entries_outlive_their_organization(as_admin, as_manager, entries):
    path = f"/organizations/{as_manager.user.organization_id}"
    as_manager.patch(path, json={"region": "GB", "significance_threshold": 2.5})
    made = as_admin.post("/organizations", json={"name": "Short-lived"}).json["id"]
    as_admin.delete(f"/organizations/{made}")

    old, new = {"region": None, "significance_threshold": 5}, {"region": "GB", "significance_threshold": 2.5}
    changed = act(as_manager, "changed", "organization", as_manager.user.organization_id, old, new)
    assert entries("organization", action="changed") == [changed]
    whole = {"name": "Short-lived", "timezone": "UTC", "region": None, "significance_threshold": 5}
    whole |= {"factor_split": "days", "missing_factor": "refuse"}
    assert entries("organization", as_admin, organization_id=made) == [
        act(as_admin, "created", "organization", made, new=whole),
        act(as_admin, "deleted", "organization", made, old=whole),
    ]


def test_shared_rows_are_audited_for_all_organizations(as_admin, as_auditor, as_manager, as_other_manager):
    made = as_admin.post("/usage-types", json={"name": "flights", "unit": "km", "scope": 3}).json["id"]
    factors = f"/usage-types/{made}/factors"
    shared = {"factor": 0.25, "valid_from": "2020-01-01T00:00:00Z", "source": "A table"}
    first = as_admin.post(factors, json=shared).json["id"]
    as_admin.post(factors, json=shared | {"valid_from": "2021-01-01T00:00:00Z"})
    own = as_manager.post(factors, json=shared | {"source": "Ours"}).json["id"]
    as_admin.patch(f"/usage-types/{made}", json={"category": "business_travel"})
    as_admin.delete(f"/usage-types/{made}")

    def seen(client):
        subjects = {"subject": ["usage type", "emission factor"], "sort": "id"}
        listed = client.get("/audit-entries", query_string=subjects).json
        return [(entry["organization_id"], entry["action"], entry["subject_id"], entry["new"]) for entry in listed]

    ours, by_all = as_manager.user.organization_id, seen(as_other_manager)
    assert (None, "changed", first, {"valid_until": "2021-01-01T00:00:00Z"}) in by_all
    assert (None, "changed", made, {"category": "business_travel"}) in by_all
    assert {organization for organization, *_ in by_all} == {None}
    assert seen(as_auditor) == seen(as_manager) == seen(as_admin)
    of_own = [entry for entry in seen(as_auditor) if entry[0] == ours]
    assert [(action, id_) for _, action, id_, _ in of_own] == [("created", own), ("deleted", own)]
    assert [entry for entry in seen(as_auditor) if entry[0] is None] == by_all


def test_shared_entries_do_not_reveal_the_admin(as_admin, as_auditor):
    as_admin.patch("/usage-types/100", json={"description": "Of the grid."})

    (shown,) = as_auditor.get("/audit-entries?subject=usage type").json
    assert (shown["organization_id"], shown["actor_role"], shown["new"]) == (
        None,
        "admin",
        {"description": "Of the grid."},
    )
    assert [shown[name] for name in ("actor_id", "api_key_id", "address", "request_id")] == [None] * 4
    exported = as_auditor.get("/audit-entries/export?format=ndjson&subject=usage type").text
    assert json.loads(exported) == shown
    assert as_auditor.get(f"/audit-entries?actor_id={as_admin.user.id}").json == []
    (full,) = as_admin.get(f"/audit-entries?subject=usage type&actor_id={as_admin.user.id}").json
    assert (full["actor_id"], full["address"], full["organization_id"]) == (as_admin.user.id, "127.0.0.1", None)


def test_audit_list_filters_by_shared(as_admin, as_manager):
    as_admin.patch("/usage-types/100", json={"description": "Of the grid."})
    as_manager.post("/usages", json=USAGE)

    def subjects(query):
        return {entry["subject"] for entry in as_manager.get(f"/audit-entries?{query}").json}

    assert subjects("shared=true") == {"usage type"}
    assert {"usage", "user"} <= subjects("shared=false") == subjects("") - {"usage type"}


def test_row_security_shows_entries_about_shared_rows(as_admin, as_manager):
    as_admin.patch("/usage-types/100", json={"description": "Of the grid."})
    as_admin.patch(f"/organizations/{as_admin.user.organization_id}", json={"region": "GB"})

    with row_security.for_organization(as_manager.user.organization_id):
        query = sa.text("SELECT subject FROM audit_entries WHERE organization_id <> :own")
        foreign = db.session.scalars(query, {"own": as_manager.user.organization_id}).all()

    assert foreign == ["usage type"]


def test_admins_change_is_audited_in_the_changed_organization(as_admin, as_manager, as_member, entries):
    as_admin.patch(f"/users/{as_member.user.id}", json={"name": "Renamed"})

    listed = act(as_admin, "changed", "user", as_member.user.id, {"name": "Somebody"}, {"name": "Renamed"})
    assert entries("user", as_manager, action="changed") == [listed]


def test_entries_visible_depend_on_role(as_admin, as_manager, as_auditor, as_member, as_other_manager):
    recorded = as_member.post("/usages", json=USAGE).json["id"]

    for client, seen in ((as_admin, 1), (as_manager, 1), (as_auditor, 1), (as_other_manager, 0)):
        assert len(client.get(f"/audit-entries?action=recorded&subject_id={recorded}").json) == seen
    answer = as_member.get("/audit-entries")
    assert (answer.status_code, answer.json["title"]) == (403, "Forbidden")
    actor = Actor(as_member.user.id, as_member.user.organization_id, "member", "UTC")
    with acting_as(actor):  # If members had access, they would see only their own acts.
        assert {entry.actor_id for entry in db.session.scalars(visible(AuditEntry))} == {as_member.user.id}
    organizations = {entry["organization_id"] for entry in as_other_manager.get("/audit-entries").json}
    assert organizations == {as_other_manager.user.organization_id}


def test_entry_has_request_id_and_time(as_member, as_auditor):
    before = factories.now()
    as_member.post("/usages", json=USAGE, headers={"X-Request-ID": "the-third-7"})

    (entry,) = as_auditor.get("/audit-entries?subject=usage").json

    assert entry["request_id"] == "the-third-7"
    assert abs(factories.at(entry["occurred_at"]) - before).total_seconds() < 60
    assert entry["organization_id"] == as_member.user.organization_id


def test_command_line_entries_have_no_actor_or_address(as_auditor, organization):
    (entry,) = as_auditor.get("/audit-entries?subject=organization").json

    assert (entry["subject_id"], entry["action"]) == (organization.id, "created")
    assert {entry[name] for name in ("actor_id", "actor_role", "address", "request_id")} == {None}


def test_audit_list_filters_sorts_and_pages(as_member, as_auditor, as_manager):
    ids = [as_member.post("/usages", json=USAGE).json["id"] for _ in range(3)]
    as_manager.patch(f"/usages/{ids[0]}", json={"amount": 1})

    def seen(query):
        answer = as_auditor.get(f"/audit-entries?{query}")
        assert answer.status_code == 200, answer.text
        return [(entry["action"], entry["subject_id"]) for entry in answer.json]

    recorded = [("recorded", id_) for id_ in ids]
    assert seen("subject=usage&sort=id") == [*recorded, ("corrected", ids[0])]
    assert seen("subject=usage") == [("corrected", ids[0]), *reversed(recorded)]
    assert seen(f"actor_id={as_manager.user.id}&action=corrected&action=deleted") == [("corrected", ids[0])]
    assert seen(f"subject=usage&subject_id={ids[1]}&subject_id={ids[2]}&sort=occurred_at") == recorded[1:]
    assert seen("subject=usage&sort=id&page_size=2&page=2") == [recorded[2], ("corrected", ids[0])]
    assert seen("subject=usage&start=2100-01-01&timezone=Europe/London") == seen("end=2020-01-01") == []
    assert seen("subject=tree") == []
    for query, field in (("action=eaten", "action"), ("actor=1", "actor"), ("end=yesterday", "end")):
        rejected = as_auditor.get(f"/audit-entries?{query}")
        assert (rejected.status_code, list(rejected.json["errors"]["query"])) == (422, [field])


def test_audit_list_is_one_statement(app, as_auditor, statements, monkeypatch):
    monkeypatch.setitem(app.config, "SESSION_CACHE_SECONDS", 5)
    as_auditor.get("/auth/me")
    statements.clear()

    assert as_auditor.get("/audit-entries").status_code == 200
    assert len(statements) == 1


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entries SET reason = 'another'",
        "DELETE FROM audit_entries",
        "TRUNCATE audit_entries",
        "SELECT * FROM audit_entries FOR UPDATE",
    ],
)
def test_service_role_cannot_alter_the_log(app, as_member, statement):
    as_member.post("/usages", json=USAGE)

    with pytest.raises(sa.exc.ProgrammingError) as error:
        db.session.execute(sa.text(statement))

    assert error.value.orig.pgcode == "42501"  # insufficient_privilege


@pytest.mark.parametrize(
    ("columns", "values", "constraint"),
    [
        ("action, subject", "'eaten', 'usage'", "ck_audit_entries_action"),
        ("action, subject, actor_id", "'created', 'usage', 1", "ck_audit_entries_actor"),
        ("action, subject, old", "'created', 'usage', 'null'", "ck_audit_entries_values"),
        ("action, subject, old, new", "'created', 'usage', '{}', '[]'", "ck_audit_entries_values"),
    ],
)
def test_constraints_reject_invalid_entries(app, columns, values, constraint):
    with pytest.raises(sa.exc.IntegrityError) as error:
        db.session.execute(sa.text(f"INSERT INTO audit_entries (organization_id, {columns}) VALUES (1, {values})"))

    assert error.value.orig.diag.constraint_name == constraint


@pytest.mark.parametrize(
    ("criteria", "index"),
    [
        ("true", "ix_audit_entries_by_time"),
        ("occurred_at >= '2024-01-10'", "ix_audit_entries_by_time"),
        ("subject = 'usage' AND subject_id = 7", "ix_audit_entries_by_subject"),
    ],
)
def test_audit_page_uses_an_index_without_sorting(app, criteria, index):
    db.session.execute(
        sa.text(
            """
            INSERT INTO audit_entries (organization_id, occurred_at, action, subject, subject_id)
            SELECT o, '2024-01-01'::timestamptz + n * interval '1 hour', 'changed', 'usage', n % 100
            FROM generate_series(1, 1000) n, generate_series(1, 5) o
            """
        )
    )
    db.session.execute(sa.text("ANALYZE audit_entries"))

    plan = plan_of(
        f"SELECT * FROM audit_entries WHERE organization_id = 1 AND {criteria} "
        "ORDER BY occurred_at DESC, id DESC LIMIT 50"
    )

    assert plan == [("Limit", None), ("Index Scan", index)]


@pytest.mark.parametrize("page", ["cursor=&", ""])
@pytest.mark.parametrize("sort", ["-occurred_at", "occurred_at", "id"])
def test_audit_pages_merge_shared_entries_in_order(as_admin, as_manager, page, sort):
    for number in range(4):
        as_admin.patch("/usage-types/100", json={"description": f"Edition {number}"})
        as_manager.post("/usages", json=USAGE)
    expected = as_manager.get(f"/audit-entries?sort={sort}&page_size=1000").json
    assert len(expected) >= 8 and [entry["organization_id"] for entry in expected].count(None) == 4

    seen, path = [], f"/audit-entries?{page}sort={sort}&page_size=3"
    while path:
        answer = as_manager.get(path)
        seen += answer.json
        path = next((link[1] for link in re.finditer('<([^>]+)>; rel="next"', answer.headers["Link"])), None)

    assert seen == expected


def test_page_of_shared_and_own_entries_needs_no_sort_of_all(as_manager):
    """An index has the entries of one organization in order, so the first ones of both are read."""
    organization_id = as_manager.user.organization_id
    db.session.execute(
        sa.text(
            """
            INSERT INTO audit_entries (organization_id, occurred_at, action, subject, subject_id)
            SELECT o, '2024-01-01'::timestamptz + n * interval '1 hour', 'changed', 'usage', n % 100
            FROM generate_series(1, 20000) n, unnest(ARRAY[-1, :organization_id]) o
            """
        ),
        {"organization_id": organization_id},
    )
    db.session.execute(sa.text("ANALYZE audit_entries"))
    sent = []

    def record(connection, cursor, statement, parameters, context, executemany):
        sent.append((statement, parameters))

    sa.event.listen(db.engine, "before_cursor_execute", record)
    assert len(as_manager.get("/audit-entries?cursor=").json) == 50
    sa.event.remove(db.engine, "before_cursor_execute", record)

    (found,) = [(text, parameters) for text, parameters in sent if "ORDER BY audit_entries.occurred_at" in text]
    statement, parameters = found
    plan = plan_of(statement[statement.index("SELECT audit_entries") :], parameters)
    read = [node for node in plan if node[1]]
    assert read == [("Index Only Scan", "ix_audit_entries_by_time")] * 2 + [("Index Scan", "pk_audit_entries")], plan


def test_audit_export_matches_the_list(as_manager, as_member):
    as_manager.patch(f"/organizations/{as_manager.user.organization_id}", json={"region": "GB"})
    as_manager.post("/usages", json={"usage_type_id": 100, "usage_at": "2024-01-01T00:00:00Z", "amount": 0.1})

    lines = as_manager.get("/audit-entries/export?format=ndjson&sort=id").text.splitlines()
    table = list(csv.DictReader(io.StringIO(as_manager.get("/audit-entries/export?sort=id").text)))

    listed = as_manager.get("/audit-entries?sort=id&page_size=1000").json
    assert [json.loads(line) for line in lines] == listed
    assert [json.loads(row["new"]) for row in table if row["new"]] == [entry["new"] for entry in listed if entry["new"]]
    assert as_member.get("/audit-entries/export").status_code == 403
