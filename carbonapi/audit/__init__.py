"""The audit log: who changed which row, when, from where, and the values before and after."""

from .models import NO_ORGANIZATION
from .service import actor_columns, as_jsonb, entries_cte, flush, record
from .views import audit_entries

__all__ = ["NO_ORGANIZATION", "actor_columns", "as_jsonb", "audit_entries", "entries_cte", "flush", "record"]
