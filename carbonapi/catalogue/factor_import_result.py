"""The outcome of an import of emission factors, or of its dry run, with examples."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from .models import EmissionFactor, UsageType

EXAMPLES, MAX_WARNINGS = 10, 100
OUTCOMES = ("added", "superseded", "skipped", "rounded")


@dataclass(frozen=True)
class NewFactor:
    """A factor of the table that is not in the catalogue yet, and the one that it supersedes."""

    line: int
    usage_type: UsageType
    factor: EmissionFactor
    replaced: EmissionFactor | None


@dataclass
class FactorImportResult:
    """The numbers of lines by their outcome. `id` is that of the factor set, or None for a dry run."""

    publisher: str
    edition: str
    gwp: str | None
    organization_id: int | None
    sha256: str
    format: str
    added_count: int = 0
    superseded_count: int = 0
    unchanged_count: int = 0
    skipped_count: int = 0
    usage_type_count: int = 0
    rounded_count: int = 0
    id: int | None = None
    status: str = "checked"
    skipped_reasons: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {name: [] for name in OUTCOMES})
    warnings: list[dict[str, Any]] = field(default_factory=list)
    warning_count: int = 0

    def skip(self, line: int, reason: str) -> None:
        """Count a line without a factor."""
        self.skipped_count += 1
        self.skipped_reasons[reason] += 1
        self._show("skipped", {"line": line, "reason": reason})

    def warn(self, warnings: list[tuple[int, str]]) -> None:
        self.warning_count += len(warnings)
        self.warnings += [{"line": line, "message": message} for line, message in warnings[:MAX_WARNINGS]]

    def add(self, new: list[NewFactor]) -> None:
        """Count the factors that were added, and those that supersede another one."""
        for added in new:
            example: dict[str, Any] = {
                "line": added.line,
                "usage_type": added.usage_type.name,
                "unit": added.usage_type.unit,
                "region": added.factor.region,
                "valid_from": added.factor.valid_from,
                "factor": added.factor.factor,
            }
            if added.replaced is None:
                self.added_count += 1
                self._show("added", example)
            else:
                self.superseded_count += 1
                self._show("superseded", example | {"previous_factor": added.replaced.factor})

    def round(self, figures: list[tuple[int, str, str]]) -> None:
        """Count the figures that were rounded."""
        self.rounded_count = len(figures)
        for line, published, recorded in figures:
            self._show("rounded", {"line": line, "published": published, "recorded": recorded})

    def _show(self, kind: str, example: dict[str, Any]) -> None:
        shown = self.examples[kind]
        if len(shown) < EXAMPLES:
            shown.append(example)
