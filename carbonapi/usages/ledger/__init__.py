"""Every write of the ledger is here: recording, correcting and deleting usages, one by one and many at once."""

from .bulk import apply_restatement, delete_where, insert_many, update_many, with_outdated_factor
from .daily_totals import rebuild_daily_totals, rebuilding_daily_totals
from .single import correct, delete, record

__all__ = [
    "correct",
    "delete",
    "delete_where",
    "with_outdated_factor",
    "apply_restatement",
    "record",
    "insert_many",
    "rebuild_daily_totals",
    "rebuilding_daily_totals",
    "update_many",
]
