"""Who changed what, when, from where, and what it was before."""

from .models import NO_ORGANIZATION, AuditConfig
from .service import actor_columns, as_jsonb, entries_cte, record
from .views import audit_entries

__all__ = ["NO_ORGANIZATION", "AuditConfig", "audit_entries", "entries_cte", "record", "actor_columns", "as_jsonb"]
