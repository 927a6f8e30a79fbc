"""What the ledger said before: the usages as they were believed at a moment, and all versions of each."""

import datetime as dt
from typing import Any

import sqlalchemy as sa

from ..auth import scope_criteria, visible
from ..db import db, inline_cte
from ..errors import NotFound
from .models import Usage, UsageVersion, ledger_columns


def ledger_as_of(statement: sa.Select[Any], moment: dt.datetime) -> sa.Select[Any]:
    """The statement, answered as it would have been at `moment`.

    It may read Usage as it likes: a common table expression of that name stands before the table, in the whole
    statement but within the expression itself, and holds the rows that were believed then.
    """
    now = sa.select(*ledger_columns(Usage)).where(*scope_criteria(Usage), Usage.recorded_at <= moment)
    before = sa.select(*ledger_columns(UsageVersion)).where(
        *scope_criteria(UsageVersion), UsageVersion.recorded_at <= moment, UsageVersion.superseded_at > moment
    )
    return statement.add_cte(_before_the_table(now.union_all(before), Usage))


def versions(usage_id: int) -> sa.Select[Any]:
    """All versions of a usage that the actor may see, also the current one, and also of a usage that was deleted.

    Raises NotFound if there are none.
    """
    versions = _with_current(visible(UsageVersion).where(UsageVersion.id == usage_id))
    if db.session.scalar(versions.with_only_columns(UsageVersion.id).limit(1)) is None:
        raise NotFound(f"There is no usage {usage_id}.")
    return versions


def _with_current(statement: sa.Select[Any]) -> sa.Select[Any]:
    """The statement, where UsageVersion holds what is believed now as well, without an end."""
    now = sa.select(
        *(
            Usage.__table__.c[column.name] if column.name in Usage.__table__.c else sa.null().label(column.name)
            for column in UsageVersion.__table__.columns
        )
    ).where(*scope_criteria(Usage))
    before = sa.select(*UsageVersion.__table__.columns).where(*scope_criteria(UsageVersion))
    return statement.add_cte(_before_the_table(now.union_all(before), UsageVersion))


def _before_the_table(rows: sa.CompoundSelect[Any], model: type[Usage] | type[UsageVersion]) -> sa.CTE:
    # Not materialized: what the statement asks of the rows is asked of the tables' indexes.
    return inline_cte(rows, model.__tablename__)
