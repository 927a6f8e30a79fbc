"""The history of the ledger: usages as of an earlier instant, and all versions of a usage."""

import datetime as dt
from typing import Any

import sqlalchemy as sa

from ..auth import scope_criteria, visible
from ..db import db, inline_cte
from ..errors import NotFound
from .models import Usage, UsageVersion, ledger_columns
from .recording_time import wait_until_settled


def ledger_as_of(statement: sa.Select[Any], instant: dt.datetime) -> sa.Select[Any]:
    """Return the statement, reading the ledger as it was at an instant.

    The statement gets a CTE named `usages`. In SQL the name of a CTE hides the table of that name, so wherever the
    statement reads `Usage`, it reads the versions that were current at the instant. Only the CTE reads the tables.
    Raise Unavailable if writers are still recording at that instant.
    """
    wait_until_settled(instant)
    current = sa.select(*ledger_columns(Usage)).where(*scope_criteria(Usage), Usage.recorded_at <= instant)
    superseded = sa.select(*ledger_columns(UsageVersion)).where(
        *scope_criteria(UsageVersion), UsageVersion.recorded_at <= instant, UsageVersion.superseded_at > instant
    )
    return statement.add_cte(inline_cte(current.union_all(superseded), Usage.__tablename__))


def versions(usage_id: int) -> sa.Select[Any]:
    """Select all versions of a usage that the actor may see, including the current one. The usage may be deleted.

    The current version is a row of UsageVersion without an end. Raises NotFound if no version exists.
    """
    columns = UsageVersion.__table__.columns
    current = sa.select(
        *(
            Usage.__table__.c[column.name] if column.name in Usage.__table__.c else sa.null().label(column.name)
            for column in columns
        )
    ).where(*scope_criteria(Usage))
    superseded = sa.select(*columns).where(*scope_criteria(UsageVersion))
    every_version = inline_cte(current.union_all(superseded), UsageVersion.__tablename__)
    versions = visible(UsageVersion).where(UsageVersion.id == usage_id).add_cte(every_version)
    if db.session.scalar(versions.with_only_columns(UsageVersion.id).limit(1)) is None:
        raise NotFound(f"There is no usage {usage_id}.")
    return versions
