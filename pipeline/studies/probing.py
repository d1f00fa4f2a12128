"""A look at the table and the network before many runs: what it is, how long an epoch takes, how many fit at a time."""

from typing import Literal

from pipeline.config import Config, NoTracking
from pipeline.errors import DataError
from pipeline.studies.jobs import Died, Ended, Probe, Probed
from pipeline.studies.workers import Pool
from pipeline.threads import cores


def probe(pool: Pool, config: Config) -> Probed:
    """Prepare the table and time an epoch; raises DataError where the table cannot be trained on."""
    pool.submit(Probe(config.model_copy(update={"tracking": NoTracking(name="none", root=config.tracking.root)})))
    while True:
        for _, event in pool.events(1.0):
            match event:
                case Ended(result=Probed() as probed):
                    return probed
                case Ended(error=why) | Died(why=why):
                    raise DataError(why)


def workers_for(asked: int | Literal["auto"], probed: Probed, n_runs: int) -> int:
    """Processes that train at a time: as asked; for auto one a core, fewer where each takes several threads."""
    if isinstance(asked, int):
        return asked
    return min(max(1, cores() // probed.threads), n_runs)
