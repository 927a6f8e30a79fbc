"""Parts of a period: how much of its amount was used between two instants.

A period is spread evenly over its seconds as they really pass: a day of 25 hours has 25 hours' worth of it. Up to an
edge it has used its amount × the time passed ÷ its whole time, rounded half up at the twelfth digit after the point,
the last that the ledger stores; between two edges it has used the difference. So a part is its exact share, rounded up
or down in the last digit, and parts add up to the whole wherever they are cut: days to their month, and a range and the
next one to both. The CO2e of a part is its amount times the factor that is frozen into the usage, exactly, so that adds
up as well.
"""

from decimal import Decimal
from typing import Any

import sqlalchemy as sa

LAST_DIGIT = Decimal("1e-12")


def prorated_amount(amount: Any, usage_at: Any, usage_until: Any, begin: Any, end: Any) -> Any:
    """How much of a period's amount was used within [begin, end)."""
    return _used_until(end, amount, usage_at, usage_until) - _used_until(begin, amount, usage_at, usage_until)


def _used_until(moment: Any, amount: Any, usage_at: Any, usage_until: Any) -> Any:
    passed = _seconds(sa.func.least(sa.func.greatest(moment, usage_at), usage_until) - usage_at)
    whole = _seconds(usage_until - usage_at)
    # Rounded half up in whole numbers: a quotient of numerics would be rounded twice.
    digits = sa.func.div(2 / LAST_DIGIT * sa.func.abs(amount) * passed + whole, 2 * whole)
    return sa.func.sign(amount) * digits * LAST_DIGIT


def _seconds(length: Any) -> Any:
    return sa.cast(sa.extract("epoch", length), sa.Numeric)
