"""A finding of the doctor, and the artifact that findings are kept in."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

DOCTOR = "doctor"  # the folder of a run's artifacts
FINDINGS = f"{DOCTOR}/findings.json"


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


def to_json(findings: Sequence[Finding]) -> bytes:
    """Findings as the content of the artifact FINDINGS."""
    told = {"findings": [asdict(finding) for finding in findings]}
    return json.dumps(told, indent=1, ensure_ascii=False).encode()


def from_json(content: bytes) -> list[Finding]:
    """Findings as `to_json` wrote them."""
    return [Finding(**found | {"advice": tuple(found["advice"])}) for found in json.loads(content)["findings"]]
