"""What came of a part of the attack."""

from dataclasses import dataclass, field


@dataclass
class Part:
    """A part of the attack: what it has reached of what there is, how often it attacked, and what did not hold."""

    name: str
    operations: int = 0
    attacks: int = 0
    reached: set = field(default_factory=set)
    failures: list = field(default_factory=list)
    figures: dict = field(default_factory=dict)

    def attack(self, operation_id, holds, *told):
        """Note an attack on an operation, and what to tell if the service did not hold."""
        self.attacks += 1
        self.reached.add(operation_id)
        self.expect(holds, operation_id, *told)

    def expect(self, holds, *told):
        """Note what to tell if something does not hold."""
        if not holds:
            self.failures.append(" ".join(str(part)[:600] for part in told))

    def add(self, part):
        """Take over what came of a part of this part."""
        self.attacks += part.attacks
        self.reached |= part.reached
        self.failures += part.failures

    def reaches(self, names):
        """Each of these must have been attacked."""
        self.operations = len(names)
        for name in sorted(names - self.reached):
            self.failures.append(f"{name} was not reached")

    def __str__(self):
        figures = {"attacks": self.attacks, "operations": self.operations, "reached": len(self.reached)}
        told = ", ".join(f"{name} {value}" for name, value in (figures | self.figures).items())
        return f"{self.name}: {told}, failures {len(self.failures)}"
