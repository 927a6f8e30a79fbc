"""How the changes of a table reach the audit log: every model declares exactly one of these as `AUDIT`."""

import enum
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class AuditConfig:
    """`audit.flush` writes one entry for each row that it writes.

    columns: whose values an entry may contain. Values of other columns are never logged.
    created_action: the action of a new row.
    actions: the action of a change by the column that changed, where it is not "changed". The first match applies.
    personal: columns to omit from the entry of a deletion, because the deletion erases them.
    reason_column: the column with the reason of the change.
    organization_column: the column with the organization of the row. If it is null, all organizations share the row.
    """

    columns: Collection[str]
    created_action: str = "created"
    actions: Mapping[str, str] = field(default_factory=dict)
    personal: Collection[str] = ()
    reason_column: str | None = None
    organization_column: str = "organization_id"


class AuditedBy(enum.Enum):
    """The code that writes the table also writes the entries."""

    SERVICE = "its service calls audit.record"
    STATEMENT = "the statement that writes rows includes audit.entries_cte"


@dataclass(frozen=True)
class NotAudited:
    """No entry is written, for this reason."""

    reason: str
