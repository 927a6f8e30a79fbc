"""The ledger: every write of usages, their versions and their daily totals. `usages.service` validates first."""

from ..recording_time import recording_time
from .bulk import apply_restatement, choose_valuations, delete_where, insert_many, update_many, with_outdated_valuation
from .daily_totals import rebuild_daily_totals, rebuilding_daily_totals
from .sql import split_difference

__all__ = [
    "apply_restatement",
    "choose_valuations",
    "delete_where",
    "insert_many",
    "rebuild_daily_totals",
    "rebuilding_daily_totals",
    "recording_time",
    "split_difference",
    "update_many",
    "with_outdated_valuation",
]
