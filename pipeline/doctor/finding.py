"""A finding of the doctor."""

from dataclasses import dataclass

FOLDER = "doctor"  # of a run's artifacts


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with a run.

    Attributes:
        name: as runs are tagged with.
        what: the finding in a sentence.
        measured: the value.
        threshold: what it was held against.
        source: where the threshold comes from.
        advice: overrides that may cure it, the first of them first.
    """

    name: str
    what: str
    measured: str
    threshold: str
    source: str
    advice: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """The finding in a line, advice included."""
        cure = f"; try {' '.join(self.advice)}" if self.advice else ""
        return f"{self.what}: {self.measured} ({self.threshold}; {self.source}){cure}"
