"""Query plans, and a ledger that is large enough for PostgreSQL to use its indexes."""

import sqlalchemy as sa

from carbonapi.db import db

from . import factories


def plan_of(statement, parameters=None):
    """Return the nodes of a statement's plan, each with the index or table that it reads."""
    explained = db.session.connection().exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
    return [
        (node["Node Type"], node.get("Index Name") or node.get("Relation Name"))
        for node in plan_nodes(explained.scalar()[0]["Plan"])
        # The setting that policies compare with is read once per statement, and from no table.
        if node.get("Parent Relationship") != "InitPlan" or node["Node Type"] != "Result"
    ]


def plan_nodes(plan):
    """Yield a node of a plan and all nodes below it."""
    yield plan
    for child in plan.get("Plans", []):
        yield from plan_nodes(child)


def add_many_usages(organization):
    """Record 1000 usages of two types for each of eight users, half of them in this organization. Return the first."""
    users = [factories.user(organization) for _ in range(4)]
    users += [factories.user(factories.organization()) for _ in range(4)]
    for user in users:
        for usage_type_id in (100, 101):
            factories.valuation(user.organization_id, usage_type_id)
    db.session.execute(
        sa.text(
            """
            INSERT INTO usages (organization_id, user_id, usage_type_id, usage_at, amount, unit, amount_in_type_unit,
                                valuation_id, emission_factor_id, factor, market_factor, recorded_by, version)
            SELECT u.organization_id, u.id, v.usage_type_id, '2024-01-01'::timestamptz + n * interval '1 hour', 1,
                   'kwh', 1, v.id, v.emission_factor_id, 1, 1, u.id, 1
            FROM generate_series(1, 1000) n, users u JOIN valuations v USING (organization_id)
            WHERE u.id = ANY (:user_ids) AND v.usage_type_id IN (100, 101)
            """
        ),
        {"user_ids": [user.id for user in users]},
    )
    db.session.execute(sa.text("ANALYZE usages"))
    return users[0]
