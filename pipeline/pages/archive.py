"""Runs read back from the tracking store, and their pages: written under ROOT/reports and kept with the run."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from pipeline.compose import MISSING, compose_values, flatten, list_groups
from pipeline.errors import ConfigError, TrackingError
from pipeline.pages.past import BEST, CONFIG, PastRun
from pipeline.pages.sheet import sheet
from pipeline.runs import find_run
from pipeline.store import require_store
from pipeline.tracking import PARENT, connect, store_errors

ARTIFACT = "report.html"
CURVES = ("train/loss", "val/loss", "train/lr")
FILES = (
    r"[^/]+\.(yaml|parquet)|figures/.+\.png|doctor/.+\.(png|json)"
    r"|predictions/test\.parquet|model/artifacts/bundle/bundle\.json"
)
FOLDERS = ("", "figures", "doctor", "predictions", "model/artifacts/bundle")
PAGE_BYTES = 1_400_000  # of pictures: base64 makes 1.9 MB of them
TABLE_BYTES = 200_000_000  # of a Parquet file that is read
OURS = ("digest", "kind")  # tags of which every run of this program has one


def publish(root: str, run: str) -> Path:
    """Write the page of a run to ROOT/reports and to the run's artifacts.

    Args:
        root: the tracking root.
        run: a run's id, the first digits of one (4 or more), or its name.

    Raises:
        TrackingError: there is no such run, or several; it is another program's; the store cannot be used.
    """
    past = read(root, run)
    page = sheet(past)
    file = Path(root) / "reports" / f"{past.run_id}.html"
    with store_errors(root):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(page)
        connect(root).log_text(past.run_id, page.decode(), ARTIFACT)
    return file


def read(root: str, run: str) -> PastRun:
    """A run and what it left; arguments and errors as of `publish`."""
    client, found = _look_up(root, run)
    run_id = found.info.run_id
    with store_errors(root):
        files, left_out = _files(client, run_id, FOLDERS, FILES)
        nested = client.search_runs([found.info.experiment_id], f"tags.`{PARENT}` = '{run_id}'", max_results=1000)
        history = {
            name: [(point.step, point.value) for point in client.get_metric_history(run_id, name)]
            for name in CURVES
            if name in found.data.metrics
        }
        registered = _registered(client, run_id)
    defaults = {path: _defaults(yaml.safe_load(files[path])) for path in (CONFIG, BEST) if path in files}
    return PastRun(
        **_plain(found),
        history=history,
        files=files,
        left_out=left_out,
        defaults=defaults,
        children=[PastRun(**_plain(child)) for child in reversed(nested)],
        registered=registered,
    )


def read_files(root: str, run: str, paths: Sequence[str]) -> PastRun:
    """A run with those of its artifacts alone that are among `paths`; arguments and errors as of `publish`."""
    client, found = _look_up(root, run)
    folders = dict.fromkeys(path.rpartition("/")[0] for path in paths)
    with store_errors(root):
        files, _ = _files(client, found.info.run_id, folders, "|".join(map(re.escape, paths)))
    return PastRun(**_plain(found), files=files)


def _plain(run: Any) -> dict[str, Any]:  # an mlflow Run
    """What the store itself says of a run."""
    inputs = run.inputs.dataset_inputs if run.inputs else []
    sizes = {tag.value: json.loads(given.dataset.profile or "{}") for given in inputs for tag in given.tags}
    source = json.loads(inputs[0].dataset.source).get("uri", "") if inputs else ""
    return {
        "run_id": run.info.run_id,
        "name": str(run.info.run_name),
        "status": run.info.status,
        "start": run.info.start_time,
        "end": run.info.end_time,
        "tags": dict(run.data.tags),
        "params": dict(run.data.params),
        "metrics": dict(run.data.metrics),
        "source": source,
        "splits": {name: profile["num_rows"] for name, profile in sizes.items() if "num_rows" in profile},
    }


# ---------------------------------------------------------------- which run
def _look_up(root: str, run: str) -> tuple[Any, Any]:
    """The store's client, and the run that is meant."""
    require_store(root, run)
    client = connect(root)
    with store_errors(root):
        found = find_run(client, root, run)
    if not any(name in found.data.tags for name in OURS):
        raise TrackingError(f"run '{run}': was not made by `pipeline`, so that there is nothing to report")
    return client, found


def _registered(client: Any, run_id: str) -> str:
    """The model's place in the registry, in words."""
    versions = client.search_model_versions(f"run_id = '{run_id}'", max_results=1)
    if not versions:
        return ""
    found = client.get_model_version(versions[0].name, versions[0].version)  # a search leaves the aliases out
    return f"{found.name} version {found.version}" + "".join(f", {alias}" for alias in found.aliases)


# ---------------------------------------------------------------- its files
def _files(client: Any, run_id: str, folders: Iterable[str], wanted: str) -> tuple[dict[str, bytes], list[str]]:
    """The artifacts in `folders` whose path matches `wanted`, by path, and the paths of pictures without room."""
    infos = [info for folder in folders for info in client.list_artifacts(run_id, folder or None) if not info.is_dir]
    files, left_out, room = dict[str, bytes](), list[str](), PAGE_BYTES
    with TemporaryDirectory() as folder:
        for info in infos:
            size, is_picture = info.file_size or 0, info.path.endswith(".png")
            if not re.fullmatch(wanted, info.path) or size > TABLE_BYTES:
                continue
            if is_picture and size > room:
                left_out.append(info.path)
                continue
            room -= size * is_picture
            files[info.path] = Path(client.download_artifacts(run_id, info.path, folder)).read_bytes()
    return files, left_out


def _defaults(config: Mapping[str, Any]) -> dict[str, object]:
    """The values by dotted path of the groups that a config has chosen, and the names of those chosen by default.

    A value that must be given has no default. Empty for a config of another version, whose groups are not there any
    more.
    """
    groups = list_groups()
    chosen = {group: value["name"] for group, value in config.items() if isinstance(value, Mapping) and "name" in value}
    try:
        own = compose_values([f"{group}={name}" for group, name in chosen.items() if name in groups.get(group, ())])
        usual = compose_values()
    except ConfigError:
        return {}
    names = {f"{group}.name": usual[group]["name"] for group in chosen if "name" in usual.get(group, {})}
    return {path: value for path, value in flatten(own).items() if value != MISSING} | names
