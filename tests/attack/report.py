"""The results of the attacks."""

from dataclasses import dataclass, field


@dataclass
class Part:
    """The results of one part: the operations that it reached, its number of attacks, and its failures."""

    name: str
    operations: int = 0
    attacks: int = 0
    reached: set = field(default_factory=set)
    failures: list = field(default_factory=list)
    figures: dict = field(default_factory=dict)

    def attack(self, operation_id, holds, *details):
        """Count an attack on an operation, and add a failure with these details unless the service held."""
        self.attacks += 1
        self.reached.add(operation_id)
        self.expect(holds, operation_id, *details)

    def expect(self, holds, *details):
        """Add a failure with these details unless something holds."""
        if not holds:
            self.failures.append(" ".join(str(part)[:600] for part in details))

    def add(self, part):
        """Add the results of a smaller part."""
        self.attacks += part.attacks
        self.reached |= part.reached
        self.failures += part.failures

    def reaches(self, names):
        """Require that each of these was attacked."""
        self.operations = len(names)
        for name in sorted(names - self.reached):
            self.failures.append(f"{name} was not reached")

    def __str__(self):
        figures = {"attacks": self.attacks, "operations": self.operations, "reached": len(self.reached)}
        text = ", ".join(f"{name} {value}" for name, value in (figures | self.figures).items())
        return f"{self.name}: {text}, failures {len(self.failures)}"
