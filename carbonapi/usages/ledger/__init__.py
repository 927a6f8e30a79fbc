"""Every write of the ledger is here: recording, correcting and deleting usages, one by one and many at once."""

from .bulk import delete_all, outdated, rebook, record_staged, replace_staged
from .daily_totals import recount
from .single import correct, delete, record

__all__ = [
    "correct",
    "delete",
    "delete_all",
    "outdated",
    "rebook",
    "record",
    "record_staged",
    "recount",
    "replace_staged",
]
