"""Which tracked run is meant by what a user types."""

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from pipeline.errors import TrackingError
from pipeline.store import tracking_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


def find_run(client: "MlflowClient", root: str, run: str) -> "Run":
    """As `search_run`; raises TrackingError where there is no such run, too."""
    found = search_run(client, run)
    if found is None:
        raise TrackingError(f"run '{run}': not in {tracking_uri(root)}; give a run's id, its first digits, or its name")
    return found


def search_run(client: "MlflowClient", run: str) -> "Run | None":
    """The run of an id, else of the first digits of one (4 or more), else of a name, if there is one.

    Raises:
        TrackingError: there are several.
    """
    from mlflow.exceptions import MlflowException

    if re.fullmatch("[0-9a-f]{32}", run):  # as each training run asks at its end, to be registered
        with suppress(MlflowException):
            known = client.get_run(run)
            return known if known.info.lifecycle_stage == "active" else None
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    for wanted in _filters(run):
        found = client.search_runs(experiments, wanted, max_results=10) if experiments else []
        if len(found) > 1:
            ids = ", ".join(each.info.run_id for each in found[:3])
            raise TrackingError(f"run '{run}': several are called so: {ids}{', …' * (len(found) > 3)}; give an id")
        if found:
            return found[0]
    return None


def _filters(run: str) -> Iterator[str]:
    if re.fullmatch("[0-9a-f]{4,32}", run):
        yield f"attributes.run_id LIKE '{run}%'"
    quote = '"' if "'" in run else "'"
    if quote not in run:
        yield f"attributes.run_name = {quote}{run}{quote}"
