"""The doctor of one run: measures while it trains, tells at once what is certain, and at the end what it found."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import pytorch_lightning as pl

from pipeline.baselines import Baseline
from pipeline.config import Doctor as Asked
from pipeline.data.datamodule import TableDataModule
from pipeline.doctor.finding import DOCTOR, FINDINGS, Finding, to_json
from pipeline.doctor.findings import certain, findings_of
from pipeline.doctor.gathering import gather
from pipeline.doctor.measuring import Measure, Probe
from pipeline.errors import TrainingError
from pipeline.evaluate import Evaluation
from pipeline.module import TableModule
from pipeline.tracking import Tracker

QUANTITIES = ("gradient", "update", "dead", "saturated", "mean", "std", "symmetric")

logger = logging.getLogger(__name__)


class Doctor:
    """Stands beside a run. Switched off it does nothing.

    Attributes:
        callbacks: what is to go along with the fit.
    """

    def __init__(self, asked: Asked, module: TableModule, data: TableDataModule, tracker: Tracker) -> None:
        self._module, self._data, self._tracker = module, data, tracker
        self._probe = Probe(data.val, self._note)  # measures nothing where it does not go along
        self.callbacks: list[pl.Callback] = [self._probe] if asked.name == "on" else []

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """A run that diverges in here is examined, too: its error says what was found."""
        try:
            yield
        except TrainingError as error:
            if not self._probe.measures:
                raise
            findings = findings_of(gather(self._module, self._data, self._probe, (), diverged=True))
            self._record(findings)
            told = "".join(f"\n  found: {finding.line}" for finding in findings)
            raise TrainingError(f"{error}{told}") from error

    def conclude(
        self, history: Sequence[Mapping[str, float]], evaluation: Evaluation, linear: Baseline | None
    ) -> tuple[str, ...]:
        """What is wrong with the run, a line each, which is also tracked; nothing of one without a whole epoch."""
        if not history or not self._probe.measures:
            return ()
        findings = findings_of(gather(self._module, self._data, self._probe, history, evaluation, linear))
        self._record(findings)
        return tuple(finding.line for finding in findings)

    def _note(self, measure: Measure) -> None:
        """Track a measure, and say what it makes certain, once."""
        self._tracker.metrics(
            {
                f"doctor/{quantity}/{layer.name.replace(' ', '_')}": value
                for layer in measure.layers
                for quantity in QUANTITIES
                if (value := getattr(layer, quantity)) == value
            },
            step=measure.epoch,
        )
        if measure.epoch != 1:
            return
        for finding in certain(gather(self._module, self._data, self._probe, ())):
            logger.warning("%s", finding.line)

    def _record(self, findings: Sequence[Finding]) -> None:
        """Tags to filter runs by, the findings as a file, and a figure."""
        tracker = self._tracker
        if not tracker.run_id:
            return
        from pipeline.canvas import to_png
        from pipeline.doctor.health import health

        tracker.tags({f"finding.{finding.name}": finding.line for finding in findings})
        tracker.tags({"findings": ", ".join(finding.name for finding in findings) or "none"})
        tracker.file(FINDINGS, to_json(findings))
        if any(measure.layers for measure in self._probe.measures):
            tracker.file(f"{DOCTOR}/health.png", to_png(health(self._probe.measures)))
