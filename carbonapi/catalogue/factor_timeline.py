"""The factors in force of one usage type, region, method and owner. Their validity never overlaps."""

from bisect import bisect_left, insort
from dataclasses import dataclass, field
from typing import Any

from .models import EmissionFactor

Key = tuple[int, str | None, str]  # Usage type, region, method.


def _start(factor: EmissionFactor) -> Any:
    return factor.valid_from


@dataclass
class Timeline:
    """Factors in the order of their validity."""

    factors: list[EmissionFactor] = field(default_factory=list)

    def overlapping(self, factor: EmissionFactor) -> list[EmissionFactor]:
        """Return the factors that are valid at some time of this one."""
        first = max(0, bisect_left(self.factors, factor.valid_from, key=_start) - 1)
        found = []
        for other in self.factors[first:]:
            if factor.valid_until is not None and other.valid_from >= factor.valid_until:
                break
            if other.valid_until is None or other.valid_until > factor.valid_from:
                found.append(other)
        return found

    def is_same_time(self, known: EmissionFactor, new: EmissionFactor) -> bool:
        """Return whether both have the same validity. The end of the known one may be the start of its successor."""
        return known.valid_from == new.valid_from and (
            known.valid_until == new.valid_until
            or (new.valid_until is None and any(other.valid_from == known.valid_until for other in self.factors))
        )

    def replace(self, known: EmissionFactor, new: EmissionFactor) -> None:
        """Put a factor in the place of another one, with its end."""
        new.valid_until = known.valid_until
        self.factors[self.factors.index(known)] = new

    def add(self, factor: EmissionFactor) -> bool:
        """Add a factor, and end the previous one if both are open-ended. Return False if it overlaps another one."""
        overlapping = self.overlapping(factor)
        for other in overlapping:
            if factor.valid_until is not None or other.valid_until is not None or other.valid_from >= factor.valid_from:
                return False
        for other in overlapping:
            other.valid_until = factor.valid_from
        insort(self.factors, factor, key=_start)
        return True
