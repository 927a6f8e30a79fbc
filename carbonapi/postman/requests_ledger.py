"""Requests for logging in, the catalogue, usages and imports."""

from .. import errors
from .requests import CREDENTIALS, ETAG, IF_MATCH, Request

TOKENS = {"token": "answer.access_token", "refresh_token": "answer.refresh_token"}
NEW_ADDRESSES = (
    "const number = `${Date.now()}`;",
    'pm.collectionVariables.set("email", `ada.${number}@example.org`);',
    'pm.collectionVariables.set("colleague_email", `grace.${number}@example.org`);',
)
NEXT_CURSOR = {"cursor": '/cursor=([^&>]+)[^>]*>; rel="next"/.exec(pm.response.headers.get("Link"))[1]'}
FILE = "usage_type_id,usage_at,amount,note\n101,2026-02-01T00:00:00Z,2,\n101,2026-03-01T00:00:00Z,5.5,Main meter\n"
INVALID_FILE = "usage_at,amount\n2026-04-01T00:00:00Z,3\n2026-05-01T00:00:00Z,three\n"
JANUARY = "start=2026-01-01&end=2026-02-01"
AUTH = (
    Request(
        "register_organization",
        body=CREDENTIALS | {"name": "Ada Lovelace", "organization": "Analytical Engines"},
        saves={"user_id": "answer.id", "organization_id": "answer.organization_id"},
        expects={"answer.role": "manager"},
        prerequest=NEW_ADDRESSES,
    ),
    Request("log_in", body=CREDENTIALS, saves=TOKENS, expects={"answer.token_type": "Bearer"}),
    Request("get_yourself", saves=ETAG, expects={"answer.name": "Ada Lovelace"}),
    Request("get_yourself", "Get yourself, if changed since", headers={"If-None-Match": "{{etag}}"}, status=304),
    Request("change_yourself", headers=IF_MATCH, body={"name": "Ada King"}, expects={"answer.name": "Ada King"}),
    Request("refresh_tokens", saves=TOKENS),
    Request("list_sessions", expects={"answer.length": 1, "answer[0].current": True}),
)
FACTOR_TABLE = (
    "usage_type,unit,scope,valid_from,valid_until,kg_co2e_per_unit,source\n"
    "district heat,kWh,2,2026-01-01,2027-01-01,0.12,Supplier\n"
)
CATALOGUE = (
    Request("list_usage_types", query="name=electricity", saves={"usage_type_id": "answer[0].id"}),
    Request("get_usage_type", expects={"answer.id": 100, "answer.unit": "kwh", "answer.factor": 1.5}),
    Request("list_units_of_usage_type"),
    Request("list_emission_factors", saves={"factor_id": "answer[0].id"}),
    Request("get_emission_factor", expects={"answer.factor": 1.5}),
    Request(
        "create_usage_type",
        "Create a usage type for the losses of the grid",
        body={"name": "losses of electricity", "unit": "kwh", "scope": 3, "category": "fuel_and_energy_related"},
        saves={"factor_type_id": "answer.id"},
    ),
    Request(
        "create_upstream_line",
        body={"line": "t_and_d", "factor_type_id": "{{factor_type_id}}"},
        saves={"line_id": "answer.id"},
        expects={"answer.line": "t_and_d"},
    ),
    Request("list_upstream_lines", expects={"answer.length": 1}),
    Request("get_upstream_line", expects={"answer.line": "t_and_d"}),
)
FACTOR_SETS = (
    Request(
        "import_table_of_emission_factors",
        "Check a table: a dry run",
        body=FACTOR_TABLE,
        status=200,
        expects={"answer.status": "checked", "answer.added_count": 1},
    ),
    Request(
        "import_table_of_emission_factors",
        query="mode=apply&publisher=Supplier&edition=2026",
        body=FACTOR_TABLE,
        status=201,
        saves={"factor_set_id": "answer.id"},
        expects={"answer.status": "applied", "answer.edition": "2026"},
    ),
    Request("revert_factor_set", expects={"answer.deleted_count": 1}),
    Request(
        "create_factor_set",
        body={"publisher": "Northern Power", "edition": "2026", "published_on": "2026-01-15", "gwp": "AR5"},
        saves={"factor_set_id": "answer.id"} | ETAG,
    ),
    Request("list_factor_sets", query="q=northern", expects={"answer.length": 1}),
    Request("get_factor_set", expects={"answer.edition": "2026"}),
    Request("change_factor_set", headers=IF_MATCH, body={"edition": "2026 v1.1"}, saves=ETAG),
    Request("list_global_warming_potentials", expects={"answer.map(set => set.name)": ["AR4", "AR5", "AR6"]}),
)
USAGES = (
    Request(
        "record_usage",
        headers={"Idempotency-Key": "main-meter-2026-01"},
        saves={"usage_id": "answer.id", "recorded_at": "answer.recorded_at"} | ETAG,
        expects={"answer.amount": 12.5, "answer.factor": 1.5, "answer.co2e_kg": 18.75, "answer.version": 1},
    ),
    Request(
        "record_usage",
        "Repeat the request: the usage is recorded once",
        headers={"Idempotency-Key": "main-meter-2026-01"},
        expects={'pm.response.headers.get("Idempotency-Replayed")': "true", "answer.version": 1},
    ),
    Request(
        "record_usage",
        "Record a bill: a usage with an interval",
        body={
            "usage_type_id": 100,
            "usage_at": "2026-01-01T00:00:00Z",
            "usage_until": "2026-03-01T00:00:00Z",
            "amount": 59,
            "external_id": "bill-{{email}}",
        },
        saves={"bill_id": "answer.id"},
        expects={"answer.co2e_kg": 88.5},
    ),
    Request(
        "record_usage",
        "Record a usage of a meter, which has the site and the type",
        body={"meter_id": "{{meter_id}}", "usage_at": "2025-12-15T12:00:00Z", "amount": 4},
        saves={"metered_id": "answer.id"},
        expects={"answer.usage_type_id": 100, "answer.region": "DE"},
    ),
    Request(
        "record_usage",
        "Record an invalid usage: the error lists the fields",
        body={"usage_type_id": 100, "usage_at": "2026-01-31T12:00:00", "amount": "much"},
        error=errors.ValidationFailed,
        expects={"Object.keys(answer.errors.json).sort()": ["amount", "usage_at"]},
    ),
    Request(
        "record_usage",
        "Record several usages, one of them invalid: the errors are by index",
        body=[
            {"usage_type_id": 101, "usage_at": "2019-01-01T00:00:00Z", "amount": 3},
            {"usage_type_id": 101, "usage_at": "2019-02-01T00:00:00Z", "amount": -4},
        ],
        error=errors.ValidationFailed,
        expects={"answer.errors.json": {"1": {"amount": ["Must not be negative."]}}},
    ),
    Request("get_usage", expects={"answer.amount": 12.5}),
    Request(
        "correct_usage",
        "Correct the usage, if it is still the version that you read",
        headers=IF_MATCH,
        body={"amount": 12.75, "reason": "The meter was read again."},
        expects={"answer.version": 2, "answer.co2e_kg": 19.125, "answer.factor": 1.5},
    ),
    Request(
        "correct_usage",
        "Correct it with an outdated ETag: precondition failed",
        headers=IF_MATCH,
        body={"amount": 13},
        error=errors.PreconditionFailed,
        expects={"answer.title": "Precondition failed"},
    ),
    Request("replace_usage", headers={"If-Match": '"2"'}, expects={"answer.version": 3, "answer.amount": 12.5}),
    Request("list_versions_of_usage", expects={"answer.map(version => version.amount)": [12.5, 12.75, 12.5]}),
    Request(
        "get_usage", "Get the usage as of an earlier time", query="as_of={{recorded_at}}", expects={"answer.version": 1}
    ),
    Request(
        "explain_usage",
        expects={
            "answer.lines.map(each => each.line)": ["location", "market"],
            "answer.calculation": "12.5 kwh × 1.5 kg CO2e/kwh = 18.75 kg CO2e",
        },
    ),
    Request("list_usages", query=JANUARY + "&sort=-amount", expects={"answer.map(usage => usage.amount)": [59, 12.5]}),
    Request(
        "list_usages",
        "List usages by cursor: the first page",
        query="page_size=1&cursor=",
        saves=NEXT_CURSOR,
        expects={"answer.length": 1},
    ),
    Request(
        "list_usages",
        "List usages by cursor: the next page",
        query="page_size=1&cursor={{cursor}}",
        expects={"answer.length": 1},
    ),
    Request("list_usages_of_user", expects={"answer.length": 3}),
    Request(
        "list_usages",
        "Misspell a filter: the error lists it",
        query="strat=2026-01-01",
        error=errors.ValidationFailed,
        expects={"Object.keys(answer.errors.query)": ["strat"]},
    ),
)
CHANGES = (Request("list_changes", query="page_size=2", expects={"answer.length": 2, "answer[0].kind": "recorded"}),)
IMPORTS = (
    Request("import_usages", "Check a file: a dry run", query="mode=dry-run", body=FILE, status=200),
    Request(
        "import_usages",
        body=FILE,
        saves={"import_id": "answer.id"},
        expects={"answer.status": "completed", "answer.usage_count": 2, "answer.co2e_kg": 201.975},
    ),
    Request("get_import", expects={"answer.status": "completed"}),
    Request(
        "import_usages",
        "Import the valid lines of a file",
        query="mode=partial&usage_type_id=101",
        body=INVALID_FILE,
        saves={"import_id": "answer.id"},
        expects={"answer.usage_count": 1, "answer.error_count": 1},
    ),
    Request("list_errors_of_import", expects={"answer[0].line": 3, "answer[0].column": "amount"}),
    Request("export_rejected_lines"),
    Request("revert_import", body={"reason": "It was the wrong file."}),
    Request(
        "import_usages",
        "Import a large file: the response comes first",
        query="usage_type_id=102",
        headers={"Prefer": "respond-async"},
        body="usage_at,amount\n2026-04-01T00:00:00Z,3\n",
        status=202,
        expects={"answer.status": "queued"},
    ),
    Request("list_imports", expects={"answer.length": 3}),
)
EXPORTS = (
    Request("export_usages", query="usage_type_id=101&sort=usage_at", saves={"exported": "pm.response.text()"}),
    Request("verify_export", body="{{exported}}", expects={"answer.lines": 2, "answer.differing": 0}),
)
