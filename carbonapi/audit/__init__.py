"""Who changed what, when, from where, and what it was before."""

from .models import NOBODYS, Audited
from .service import entries_of, note, told_by, values_of
from .views import audit_entries

__all__ = ["NOBODYS", "Audited", "audit_entries", "entries_of", "note", "told_by", "values_of"]
