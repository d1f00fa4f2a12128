"""What a page tells of data, settings and how to run it again."""

import json
import re

import pytest
import yaml

from pipeline.pages.background import MOST_COLUMNS, background_parts
from pipeline.pages.document import Html
from pipeline.pages.past import BEST, CONFIG, PastRun
from tests.past import SCRIPT, past

CONTENT = b"seed: 3\ndata: {name: shop, split_seed: 0}\noptimizer: {name: adam, lr: 0.01, betas: [0.9, 0.999]}\n"
COLUMN = {
    "name": "age", "kind": "number", "missing": True, "integer": True, "low": 18.0, "high": 99.0, "levels": [],
    "example": 41.0, "rare": False,
}  # fmt: skip


def parts(run: PastRun) -> dict[str, Html]:
    return dict(background_parts(run))


def words(content: Html) -> str:
    return " ".join(re.sub("<[^>]*>", " ", content).split())


def bundle(**changed: object) -> dict[str, bytes]:
    schema = {"targets": ["bought"], "classes": ["no", "yes"], "columns": [COLUMN]} | changed
    return {"model/artifacts/bundle/bundle.json": json.dumps({"schema": schema}).encode()}


def test_the_data_are_told_with_split_target_and_classes() -> None:
    run = past(files=bundle(), splits={"training": 64, "validation": 16, "test": 2000}, source="shop.csv")
    told = words(parts(run)["Data"])
    assert "Source shop.csv Task binary Target bought Classes no, yes" in told
    assert "Rows 64 to train, 16 to validate, 2,000 to test Columns 1 Digest of the table d1" in told


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, "age whole number some 18 to 99 41"),
        ({"integer": False, "missing": False, "low": 0.123456}, "age number none 0.1235 to 99 41"),
        (
            {"kind": "category", "levels": ["b", "c"], "rare": True, "example": "b"},
            "age category some 2 levels: b, c and rare ones b",
        ),
        ({"kind": "datetime", "low": 0.0, "high": 3600.0, "example": None},
         "age moment some 1970-01-01 to 1970-01-01 01:00 –"),
    ],
)  # fmt: skip
def test_columns_are_told_by_kind(changed: dict[str, object], told: str) -> None:
    assert told in words(parts(past(files=bundle(columns=[COLUMN | changed])))["Data"])


def test_names_from_the_table_do_not_become_markup() -> None:
    column = COLUMN | {"name": SCRIPT, "kind": "category", "levels": [SCRIPT], "example": SCRIPT}
    run = past(files=bundle(columns=[column], classes=[SCRIPT], targets=[SCRIPT]), source=SCRIPT)
    assert "<script" not in parts(run)["Data"]
    assert parts(run)["Data"].count("&lt;script&gt;") == 6


def test_of_many_columns_the_first_are_told() -> None:
    content = parts(past(files=bundle(columns=[COLUMN] * 250)))["Data"]
    assert content.count("<strong>age</strong>") == MOST_COLUMNS
    assert "And 50 more columns." in content


def test_without_a_bundle_the_splits_are_told() -> None:
    assert words(parts(past(splits={"training": 64}))["Data"]) == (
        "Data set shop Task binary Rows 64 to train Digest of the table d1"
    )


def test_what_differs_from_the_defaults_is_marked_with_the_default_beside_it() -> None:
    usual = {"seed": 0, "data.name": "iris", "data.split_seed": 0, "optimizer.name": "adam", "optimizer.lr": 0.001}
    defaults = {CONFIG: usual | {"optimizer.betas": [0.9, 0.999]}}
    content = parts(past(files={CONFIG: CONTENT}, defaults=defaults))["Settings"]
    assert re.findall("<mark>(.*?)</mark>", content) == ["seed: 3", "name: shop", "lr: 0.01"]
    told = "Differs from the defaults, and is marked: seed=3 data.name=shop optimizer.lr=0.01 seed: 3 # default: 0"
    assert told in words(content)
    assert '<mark>lr: 0.01</mark><span class="comment">  # default: 0.001</span>' in content


def test_settings_can_be_copied_into_a_file_as_they_are_shown() -> None:
    content = parts(past(files={CONFIG: CONTENT}, defaults={CONFIG: {"seed": 0}}))["Settings"]
    (shown,) = re.findall("<pre><code>(.*?)</code></pre>", content, re.DOTALL)
    assert yaml.safe_load(re.sub("<[^>]*>", "", shown)) == yaml.safe_load(CONTENT)


def test_without_known_defaults_nothing_is_marked() -> None:
    content = parts(past(files={CONFIG: CONTENT}))["Settings"]
    assert "<mark>" not in content
    assert "Differs" not in content


def test_the_best_settings_come_before_other_files() -> None:
    content = parts(past(files={"aside.yaml": f"# {SCRIPT}".encode(), BEST: CONTENT}))["Settings"]
    assert re.findall("<h3>(.*?)</h3>", content) == [BEST, "aside.yaml"]
    assert "# &lt;script&gt;" in content


def test_without_files_the_params_are_the_settings() -> None:
    assert words(parts(past(params={"b": "2", "a": SCRIPT}))["Settings"]) == (
        "Setting Value a &lt;script&gt;alert(1)&lt;/script&gt; b 2"
    )


def test_how_to_run_it_again_has_command_seeds_commit_and_packages() -> None:
    tags = {
        "mlflow.source.name": "__main__.py train data=csv",
        "mlflow.source.git.commit": "0123456789abcdef",
        "mlflow.source.git.dirty": "true",
        "version.torch": "2.13",
        "version.numpy": "2.4",
    }
    run = past(files={CONFIG: CONTENT}, tags=tags, metrics={"time/data": 0.123, "time/epoch": 9.0})
    told = words(parts(run)["Run it again"])
    assert (
        "With the settings above saved as config.yaml , on the same table: pipeline train --config config.yaml" in told
    )
    assert "Started by python -m pipeline train data=csv" in told
    assert "Git commit 0123456789ab with changes" in told
    assert "Seconds by part data 0.12 Packages numpy 2.4, torch 2.13 Seed 3 Seed of the split 0" in told


def test_a_study_is_run_again_by_its_own_command() -> None:
    told = words(parts(past(files={"study.yaml": b"study: {name: mine}"}))["Run it again"])
    assert "pipeline study --config study.yaml" in told
