"""The package as others install it: the wheel holds the config groups and works away from the checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent


@pytest.mark.slow
def test_the_wheel_works_away_from_the_checkout(tmp_path: Path) -> None:
    wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", str(PROJECT)]
    subprocess.run([*wheel, "--wheel-dir", str(tmp_path)], check=True, capture_output=True)
    (built,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    shipped = {str(file.relative_to(PROJECT)) for file in (PROJECT / "conf").rglob("*.yaml")}
    assert {f"pipeline/{name}" for name in shipped} <= set(names)
    assert not [name for name in names if name.startswith(("tests", "conf/", "mlruns"))]

    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from pipeline.cli import main; main()"
    command = [sys.executable, "-c", code, str(tmp_path / "site"), "config", "optimizer=sgd"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, env=os.environ)
    assert "name: sgd" in done.stdout


@pytest.mark.slow
def test_the_lock_file_fits_what_pyproject_asks_for() -> None:
    import tomllib
    from importlib.metadata import version

    from packaging.requirements import Requirement

    asked = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    locked = dict(
        line.split("==")
        for line in (PROJECT / "requirements.lock").read_text().splitlines()
        if not line.startswith("#")
    )
    locked = {name.lower().replace("_", "-"): pinned for name, pinned in locked.items()}
    for text in (*asked["dependencies"], *asked["optional-dependencies"]["dev"]):
        requirement = Requirement(text)
        pinned = locked[requirement.name.lower()]
        assert requirement.specifier.contains(pinned), text
        assert version(requirement.name).partition("+")[0] == pinned
