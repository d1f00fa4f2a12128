"""optuna-dashboard on a study's storage: an extra, `pip install optuna-dashboard`."""

from collections.abc import Callable

from pipeline.errors import ConfigError
from pipeline.studies.plan import Plan
from pipeline.studies.storage import journal, open_storage, study_dir


def serve_dashboard(plan: Plan, port: int, announce: Callable[[str], None]) -> None:
    """Serve the dashboard on the loopback address until Ctrl-C.

    Raises:
        ConfigError: optuna-dashboard is not installed, or there is no study yet.
    """
    try:
        from optuna_dashboard import run_server
    except ImportError as error:
        raise ConfigError("--dashboard: needs optuna-dashboard; pip install optuna-dashboard") from error
    if plan.config.study.storage is None and not journal(study_dir(plan.config.tracking.root, plan.name)).exists():
        raise ConfigError(f"--dashboard: there is no study '{plan.name}' yet; run it first, or name it with study.name")
    announce(f"optuna-dashboard at http://127.0.0.1:{port}/ (Ctrl-C stops it)")
    run_server(open_storage(plan.config, plan.name), host="127.0.0.1", port=port)
