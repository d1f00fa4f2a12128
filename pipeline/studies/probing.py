"""A look at the table and the network before many runs: what it is, how long an epoch takes, how many fit at a time."""

import os
from typing import Literal

from pipeline.config import Config, NoTracking
from pipeline.errors import DataError
from pipeline.studies.jobs import Died, Ended, Probe, Probed
from pipeline.studies.workers import Pool

THREADED_WORK = 500_000_000  # multiply-adds of a mini-batch from which a network gets all cores, so workers get none


def probe(pool: Pool, config: Config) -> Probed:
    """Prepare the table and time an epoch; raises DataError where it cannot be trained on."""
    pool.submit(Probe(config.model_copy(update={"tracking": NoTracking(name="none", root=config.tracking.root)})))
    while True:
        for _, event in pool.events(1.0):
            match event:
                case Ended(result=Probed() as probed):
                    return probed
                case Ended(error=why) | Died(why=why):
                    raise DataError(why)


def workers_for(asked: int | Literal["auto"], config: Config, probed: Probed, n_runs: int) -> int:
    """Processes that train at a time: as asked; for auto one a core, fewer where each takes several threads."""
    if isinstance(asked, int):
        return asked
    threads, cores = config.trainer.threads, os.cpu_count() or 1
    if threads == "auto":
        threads = 1 if probed.n_params * config.trainer.batch_size < THREADED_WORK else cores
    return min(max(1, cores // threads), n_runs)
