"""Every write of the ledger is here: recording, correcting and deleting usages, one by one and many at once."""

from .days import recount
from .many import delete_all, outdated, rebook, record_staged, replace_staged
from .one import correct, delete, record

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
