"""What an import of emission factors did, or in a dry run would do, with examples."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from .models import EmissionFactor, FactorSet, UsageType

EXAMPLES = 10


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

    factor_set: FactorSet
    format: str
    added: int = 0
    superseded: int = 0
    unchanged: int = 0
    skipped: int = 0
    usage_types: int = 0
    rounded: int = 0
    id: int | None = None
    status: str = "checked"
    skipped_reasons: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    warnings: list[dict[str, Any]] = field(default_factory=list)
    warning_count: int = 0
    edition: dict[str, Any] = field(default_factory=dict)

    def skip(self, line: int, reason: str) -> None:
        """Count a line without a factor."""
        self.skipped += 1
        self.skipped_reasons[reason] += 1
        self._show("skipped", {"line": line, "reason": reason})

    def warn(self, warnings: list[tuple[int, str]]) -> None:
        self.warning_count += len(warnings)
        self.warnings += [{"line": line, "message": message} for line, message in warnings[: EXAMPLES * EXAMPLES]]

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
                self.added += 1
                self._show("added", example)
            else:
                self.superseded += 1
                self._show("superseded", example | {"previous_factor": added.replaced.factor})

    def complete(self, rounded: list[tuple[int, str, str]], mode: str) -> None:
        """Take over the rounded figures and the edition. A dry run is about to be rolled back."""
        self.rounded = len(rounded)
        for line, published, recorded in rounded:
            self._show("rounded", {"line": line, "published": published, "recorded": recorded})
        names = ("publisher", "edition", "gwp", "licence", "url", "sha256", "note", "organization_id")
        self.edition = {name: getattr(self.factor_set, name) for name in names}
        if mode != "dry-run":
            self.id, self.status = self.factor_set.id, "applied"

    def _show(self, kind: str, example: dict[str, Any]) -> None:
        shown = self.examples.setdefault(kind, [])
        if len(shown) < EXAMPLES:
            shown.append(example)
