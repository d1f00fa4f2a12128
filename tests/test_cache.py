"""The cache: what is kept is what was made, and anything else is made anew."""

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd
import pytest

from pipeline.config import Config
from pipeline.data import cache, prepared
from pipeline.data.cache import Entry, fetch
from pipeline.data.prepared import Prepared, prepare
from pipeline.errors import DataError
from pipeline.train import train
from pipeline.types import Stacked
from tests.conftest import mixed_frame, quick, write_csv

MADE = Entry(
    {
        "stacked": Stacked([np.arange(3.0), np.array([True, False, True])], 3, np.dtype(np.float32)),
        "none": Stacked([], 3, np.dtype(np.int64)),
        "plain": np.linspace(0, 1, 7),
        "turned": np.arange(6.0).reshape(2, 3).T,
    },
    {"name": "größe", "value": 0.1, "parts": [1, None]},
)
WHOLE: dict[str, np.ndarray] = {
    "stacked": np.array([[0, 1], [1, 0], [2, 1]], np.float32),
    "none": np.zeros((3, 0), np.int64),
    "plain": np.linspace(0, 1, 7),
    "turned": np.arange(6.0).reshape(2, 3).T,
}


class Maker:
    """Makes an entry and counts how often."""

    def __init__(self, entry: Entry = MADE) -> None:
        self.entry, self.n_made = entry, 0

    def __call__(self) -> Entry:
        self.n_made += 1
        return self.entry


def read(arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> tuple[dict[str, np.ndarray], Any]:
    return dict(arrays), facts["name"] and dict(facts)


def assert_whole(found: tuple[dict[str, np.ndarray], Any]) -> None:
    arrays, facts = found
    assert facts == MADE.facts
    assert arrays.keys() == WHOLE.keys()
    for name, array in arrays.items():
        assert (array.dtype, array.shape) == (WHOLE[name].dtype, WHOLE[name].shape)
        np.testing.assert_array_equal(array, WHOLE[name])


def small(n_bytes: int = 1000) -> Entry:
    return Entry({"a": np.zeros(n_bytes, np.uint8)}, {"name": "small"})


def age(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds,) * 2)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# ---------------------------------------------------------------- one entry
def test_what_was_made_once_is_read_again(tmp_path: Path) -> None:
    make = Maker()
    for _ in range(3):
        assert_whole(fetch(tmp_path / "cache" / "key", make, read))
    assert make.n_made == 1
    assert names_in(tmp_path / "cache") == ["key"]


def test_arrays_are_mapped_and_what_is_written_to_them_stays_in_the_process(tmp_path: Path) -> None:
    for _ in range(2):
        arrays, _ = fetch(tmp_path / "key", Maker(), read)
        assert type(arrays["plain"]) is np.ndarray
        assert isinstance(arrays["plain"].base, np.memmap)
        assert_whole((arrays, dict(MADE.facts)))
        arrays["plain"][:] = 9


def test_nothing_is_pickled(tmp_path: Path) -> None:
    fetch(tmp_path / "key", Maker(), read)
    files = sorted(path.name for path in (tmp_path / "key").iterdir())
    assert files == ["meta.json", "none.npy", "plain.npy", "stacked.npy", "turned.npy"]
    for file in (tmp_path / "key").glob("*.npy"):
        np.testing.assert_array_equal(np.load(file, allow_pickle=False), WHOLE[file.stem])


def cut(folder: Path) -> None:
    file = folder / "plain.npy"
    file.write_bytes(file.read_bytes()[:-8])


def rewrite_meta(change: Callable[[Any], None]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        meta = json.loads((folder / "meta.json").read_text())
        change(meta)
        (folder / "meta.json").write_text(json.dumps(meta))

    return damage


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "array cut short": cut,
    "array cut to its header": lambda folder: os.truncate(folder / "plain.npy", 128),
    "array empty": lambda folder: os.truncate(folder / "plain.npy", 0),
    "array longer": lambda folder: (folder / "plain.npy").write_bytes((folder / "plain.npy").read_bytes() + b"x"),
    "array missing": lambda folder: (folder / "plain.npy").unlink(),
    "array of another shape": lambda folder: np.save(folder / "plain.npy", np.zeros((7, 1))),
    "array of another type": lambda folder: np.save(folder / "plain.npy", np.zeros(7, np.int64)),
    "array of objects": lambda folder: np.save(folder / "plain.npy", np.array([print] * 7), allow_pickle=True),
    "not an array": lambda folder: (folder / "plain.npy").write_text("hello"),
    "meta missing": lambda folder: (folder / "meta.json").unlink(),
    "meta cut short": lambda folder: os.truncate(folder / "meta.json", 40),
    "meta empty": lambda folder: os.truncate(folder / "meta.json", 0),
    "meta not text": lambda folder: (folder / "meta.json").write_bytes(b"\xff\xfe\x00"),
    "meta a list": lambda folder: (folder / "meta.json").write_text("[]"),
    "meta without arrays": rewrite_meta(lambda meta: meta.pop("arrays")),
    "meta without facts": rewrite_meta(lambda meta: meta.pop("facts")),
    "meta without a fact": rewrite_meta(lambda meta: meta["facts"].pop("name")),
    "folder empty": lambda folder: list(map(Path.unlink, folder.iterdir())),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_entry_is_made_anew(tmp_path: Path, damage: Callable[[Path], Any]) -> None:
    make = Maker()
    fetch(tmp_path / "key", make, read)
    damage(tmp_path / "key")
    for _ in range(2):
        assert_whole(fetch(tmp_path / "key", make, read))
    assert make.n_made == 2


def test_a_mistake_in_reading_is_not_taken_for_a_damaged_entry(tmp_path: Path) -> None:
    def broken(*_: object) -> NoReturn:
        raise ValueError("a bug")

    with pytest.raises(ValueError, match=r"^a bug$"):
        fetch(tmp_path / "key", Maker(), broken)


def test_nothing_is_kept_of_an_error(tmp_path: Path) -> None:
    def broken() -> NoReturn:
        raise DataError("column 'x'")

    with pytest.raises(DataError):
        fetch(tmp_path / "cache" / "key", broken, read)
    assert not (tmp_path / "cache").exists()


# ---------------------------------------------------------------- writers
def test_what_a_killed_writer_left_is_never_read_and_removed_in_time(tmp_path: Path) -> None:
    fetch(tmp_path / "key", Maker(), read)
    (tmp_path / "key").rename(tmp_path / ".key.0011")
    (tmp_path / ".key.0011" / "meta.json").unlink()
    make = Maker()
    assert_whole(fetch(tmp_path / "key", make, read))
    assert make.n_made == 1
    assert names_in(tmp_path) == [".key.0011", "key"]  # its writer may be at work
    age(tmp_path / ".key.0011", cache.ABANDONED_SECONDS + 1)
    fetch(tmp_path / "other", Maker(), read)
    assert names_in(tmp_path) == ["key", "other"]


def test_of_two_that_write_the_same_entry_the_second_drops_its_own(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = Maker()

    def make() -> Entry:
        fetch(tmp_path / "key", first, read)
        (tmp_path / "key" / "mark").touch()
        return MADE

    assert_whole(fetch(tmp_path / "key", make, read))
    assert first.n_made == 1
    assert (tmp_path / "key" / "mark").exists()
    assert names_in(tmp_path) == ["key"]
    assert not caplog.messages


def full_disk(*_: object, **__: object) -> NoReturn:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_costs_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("pipeline.data.cache.json.dumps", full_disk)  # after the arrays
    assert_whole(fetch(tmp_path / "key", Maker(), read))
    assert caplog.messages == [
        "prepared data cannot be kept ([Errno 28] No space left on device); the next run prepares it anew"
    ]
    assert names_in(tmp_path) == []


def test_a_place_that_cannot_be_written_to_costs_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "cache").write_text("a file")
    make = Maker()
    for _ in range(2):
        assert_whole(fetch(tmp_path / "cache" / "key", make, read))
    assert make.n_made == len(caplog.messages) == 2
    assert caplog.messages[0].startswith("prepared data cannot be kept ([Errno 20] Not a directory: ")


def test_an_entry_that_may_only_be_read_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch(tmp_path / "key", Maker(), read)
    monkeypatch.setattr("pipeline.data.cache.os.utime", full_disk)
    make = Maker()
    assert_whole(fetch(tmp_path / "key", make, read))
    assert make.n_made == 0


def test_ctrl_c_while_writing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.data.cache.json.dumps", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetch(tmp_path / "key", Maker(), read)
    assert names_in(tmp_path) == []


# ---------------------------------------------------------------- size
def test_the_least_recently_used_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abcd":
        fetch(tmp_path / name, lambda: small(1000), read)
    size = sum(file.stat().st_size for file in (tmp_path / "a").iterdir())
    monkeypatch.setattr(cache, "CACHE_BYTES", 4 * size)
    for days, name in enumerate("dcba"):
        age(tmp_path / name, 86400 * (days + 1))
    fetch(tmp_path / "a", small, read)  # the oldest, used again
    fetch(tmp_path / "e", small, read)
    assert names_in(tmp_path) == ["a", "c", "d", "e"]
    fetch(tmp_path / "f", small, read)
    assert names_in(tmp_path) == ["a", "d", "e", "f"]


def test_too_large_an_entry_is_not_kept_and_pushes_none_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "CACHE_BYTES", 4096)
    fetch(tmp_path / "a", lambda: small(900), read)
    make = Maker(small(1025))
    for _ in range(2):
        arrays, _ = fetch(tmp_path / "b", make, read)
        assert arrays["a"].shape == (1025,)
    assert make.n_made == 2
    assert names_in(tmp_path) == ["a"]


def test_strange_files_beside_the_entries_do_no_harm(tmp_path: Path) -> None:
    for name in ("note.txt", ".gitkeep"):
        (tmp_path / name).touch()
        age(tmp_path / name, 10**6)
    (tmp_path / ".gone").symlink_to(tmp_path / "nowhere")
    assert_whole(fetch(tmp_path / "key", Maker(), read))
    assert names_in(tmp_path) == [".gitkeep", ".gone", "key", "note.txt"]


# ---------------------------------------------------------------- prepared tables
def csv(name: str = "table.csv", target: str = "grade", **settings: str) -> Config:
    """A config that reads a table with every kind of column, written where there is none."""
    others = {"amount", "second", "bought", "grade"} - {target}
    if not Path(name).exists():
        write_csv(Path(name), mixed_frame(), drop=sorted(others))
    overrides = [f"{key.replace('__', '.')}={value}" for key, value in settings.items()]
    return quick("data=csv", f"data.path={name}", f"data.target={target}", *overrides)


def entries() -> list[str]:
    return names_in(Path("mlruns/cache"))


def assert_same(one: Prepared, two: Prepared) -> None:
    for part in ("train", "val", "test", "splits"):
        for first, second in zip(getattr(one, part), getattr(two, part), strict=True):
            assert (first.dtype, first.shape) == (second.dtype, second.shape)
            np.testing.assert_array_equal(first, second)
    pd.testing.assert_frame_equal(one.table.frame, two.table.frame)
    pd.testing.assert_frame_equal(one.table.targets, two.table.targets)
    for field in ("name", "source", "digest", "task", "classes", "group", "time", "n_given_test", "notes", "n_rows"):
        assert getattr(one.table, field) == getattr(two.table, field)
    assert one.preprocessor.features_ == two.preprocessor.features_
    assert one.preprocessor.to_dict() == two.preprocessor.to_dict()


def never(*_: object) -> NoReturn:
    raise AssertionError("read again")


@pytest.mark.parametrize("scaling", ["standard", "robust", "quantile", "none"])
@pytest.mark.parametrize("target", ["grade", "bought", "amount"])
def test_a_hit_is_the_same_as_what_was_prepared(target: str, scaling: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = csv(target=target, preprocess__scaling=scaling)
    Path("blocked").write_text("a file, so that nothing is kept there")
    unkept = prepare(csv(target=target, preprocess__scaling=scaling, tracking__root="blocked"))
    kept = prepare(config)
    monkeypatch.setattr(prepared, "load_table", never)
    hit = prepare(config)
    assert_same(unkept, kept)
    assert_same(kept, hit)


def test_prepared_arrays_are_those_of_the_table_read_by_hand() -> None:
    made, frame = prepare(csv(target="amount")), mixed_frame()
    for rows, arrays in zip(made.splits, (made.train, made.val, made.test), strict=True):
        num, cat = made.preprocessor.transform(frame.iloc[rows])
        np.testing.assert_array_equal(arrays.num, num)
        np.testing.assert_array_equal(arrays.cat, cat)
        np.testing.assert_allclose(made.table.targets["amount"].iloc[rows], frame["amount"].iloc[rows])
        y = (frame["amount"].iloc[rows] - made.preprocessor.target_center_) / made.preprocessor.target_scale_
        np.testing.assert_allclose(arrays.y[:, 0], y, rtol=1e-5, atol=1e-5)


def test_the_raw_rows_are_gone_and_columns_and_types_stay() -> None:
    frame = mixed_frame().drop(columns=["second", "bought", "grade"])
    frame["zoned"] = pd.Timestamp("2020-01-01", tz="America/Lima") + pd.to_timedelta(np.arange(200), unit="h")
    frame["narrow"], frame["kind"] = np.arange(200, dtype=np.int8), pd.Categorical(["a", "b"] * 100)
    frame.to_parquet("t.parquet")
    config = quick("data=csv", "data.path=t.parquet", "data.target=amount", "data.group=count")
    for _ in range(2):
        table = prepare(config).table
        assert (len(table.frame), table.n_rows, table.group, table.time) == (0, 200, None, None)
        assert {name: str(kind) for name, kind in table.frame.dtypes.items()} == {
            "x": "float64",
            "gappy": "float64",
            "colour": "str",
            "city": "str",
            "member": "bool",
            "joined": "datetime64[us]",
            "zoned": "datetime64[us, America/Lima]",
            "narrow": "int8",
            "kind": "category",
        }


@pytest.mark.parametrize(
    "settings",
    [
        {"preprocess__scaling": "robust"},
        {"preprocess__min_frequency": "3"},
        {"preprocess__max_onehot": "2"},
        {"data__split_seed": "7"},
        {"data__val_size": "0.3"},
        {"data__drop": "[x]"},
        {"data__categorical": "[count]"},
        {"data__group": "city"},
        {"data__task": "regression"},
        {"data__missing_values": "[red]"},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_another_setting_is_prepared_anew(settings: dict[str, str]) -> None:
    prepare(csv())
    prepare(csv(**settings))
    assert len(entries()) == 2


def test_settings_that_come_after_preparing_change_nothing() -> None:
    prepare(csv())
    prepare(csv(seed="5", trainer__batch_size="7", optimizer="sgd", model__hidden="[3]"))
    assert len(entries()) == 1


def test_the_content_decides_not_the_name_or_the_time() -> None:
    first = prepare(csv())
    shutil.copy("table.csv", "moved.csv")
    age(Path("moved.csv"), 10**6)
    moved = prepare(csv("moved.csv"))
    assert len(entries()) == 1
    assert (moved.table.name, moved.table.source) == ("moved", str(Path("moved.csv").resolve()))
    assert moved.table.digest == first.table.digest
    text = Path("table.csv").read_text()
    times = Path("table.csv").stat()
    Path("table.csv").write_text(text.replace("red", "rot"))  # as long as before
    os.utime("table.csv", ns=(times.st_atime_ns, times.st_mtime_ns))
    changed = prepare(csv())
    assert len(entries()) == 2
    assert changed.table.digest != first.table.digest
    assert "rot" in changed.preprocessor.to_dict()["categories"][0]["levels"]


def test_the_same_bytes_under_another_suffix_are_read_as_the_suffix_says() -> None:
    prepare(csv())
    shutil.copy("table.csv", "table.parquet")
    with pytest.raises(DataError, match=r"^table\.parquet: "):
        prepare(csv("table.parquet"))
    shutil.copy("table.csv", "table.txt")
    with pytest.raises(DataError, match=r"^data\.path: must end in "):
        prepare(csv("table.txt"))


def test_the_test_file_counts() -> None:
    frame = mixed_frame(60, seed=1)
    config = csv(data__test_path="test.csv")
    digests = set()
    for n_rows in (60, 59):
        write_csv(Path("test.csv"), frame.head(n_rows), drop=["amount", "second", "bought"])
        made = prepare(config)
        assert (made.table.n_given_test, len(made.test.y)) == (n_rows, n_rows)
        digests.add(made.table.digest)
    shutil.copy("test.csv", "moved.csv")
    prepare(csv(data__test_path="moved.csv"))
    assert len(entries()) == len(digests) == 2
    prepare(csv())
    assert len(entries()) == 3


@pytest.mark.parametrize("place", ["CODE", "PACKAGES"])
def test_other_code_and_other_libraries_prepare_anew(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(csv())
    Path("other.py").write_text("")
    monkeypatch.setattr(prepared, place, {"CODE": (Path("other.py"),), "PACKAGES": ("numpy", "torch")}[place])
    prepare(csv())
    assert len(entries()) == 2


def test_all_code_that_prepares_is_in_the_key() -> None:
    names = {file.name for file in prepared.CODE}
    assert {"sources.py", "files.py", "columns.py", "splits.py", "preprocess.py", "scaling.py", "types.py"} <= names


def test_a_table_that_is_refused_is_refused_again_until_it_is_mended() -> None:
    config = csv()
    sound = Path("table.csv").read_text()
    Path("table.csv").write_text(sound.replace("\n", "\ninf,1,1,red,city 1,True,2020-01-01,1\n", 1))
    for _ in range(2):
        with pytest.raises(DataError, match=r"^column 'x': 1 of 201 values are infinite, first in row 1"):
            prepare(config)
    Path("table.csv").write_text(sound)
    assert prepare(config).table.n_rows == 200
    Path("table.csv").unlink()
    with pytest.raises(DataError, match=r"^data\.path: no such file, got 'table\.csv'$"):
        prepare(config)


def test_an_unchanged_table_is_prepared_the_same_where_nothing_can_be_kept(caplog: pytest.LogCaptureFixture) -> None:
    config = csv()
    first = prepare(config)
    shutil.rmtree("mlruns/cache")
    Path("mlruns/cache").write_text("")
    assert_same(first, prepare(config))
    assert "prepared data cannot be kept" in caplog.text


def python(script: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, *arguments]
    path = {"PYTHONPATH": str(Path(prepared.__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=path)


@pytest.mark.slow
def test_a_second_run_reads_no_table_and_loads_no_scikit_learn() -> None:
    script = (
        "import sys\n"
        "from pipeline.compose import load_config\n"
        "from pipeline.data.prepared import prepare\n"
        "prepare(load_config(['data=breast_cancer', 'tracking=none']))\n"
        "print('sklearn.datasets' in sys.modules, 'sklearn' in sys.modules)\n"
    )
    said = [python(script).communicate()[0] for _ in range(2)]
    assert said == ["True True\n", "False False\n"]


@pytest.mark.slow
def test_processes_at_once_end_with_one_whole_entry() -> None:
    write_csv(Path("table.csv"), mixed_frame(3000), drop=["amount", "second", "bought"])
    script = (
        "from pipeline.compose import load_config\n"
        "from pipeline.data.prepared import prepare\n"
        "made = prepare(load_config(['data=csv', 'data.path=table.csv', 'data.target=grade', 'tracking=none']))\n"
        "print(float(made.train.num.sum()), made.test.y.sum())\n"
    )
    said = [process.communicate()[0] for process in [python(script) for _ in range(3)]]
    assert len(set(said)) == 1, said
    assert len(entries()) == 1
    assert said[0] == python(script).communicate()[0]


def test_a_run_from_the_cache_ends_as_the_run_before(caplog: pytest.LogCaptureFixture) -> None:
    config, said = csv(trainer__max_epochs="3"), []
    results = []
    for _ in range(2):
        caplog.clear()
        with caplog.at_level("INFO"):
            results.append(train(config))
        said.append([message for message in caplog.messages if message.startswith(("task:", "column", "left out"))])
    assert results[0].val == results[1].val
    assert results[0].test == results[1].test
    assert said[0] == said[1] != []


# ---------------------------------------------------------------- memory
PEAK = """
import sys
import torch, pyarrow.dataset
from types import SimpleNamespace
from pipeline.compose import load_config
from pipeline.data.datamodule import TableDataModule, batches

def kilobytes(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name))

def ready(*overrides):
    data = TableDataModule(load_config([*overrides, "tracking=none"]))
    data.setup()
    return data

ready("data=iris")
base = kilobytes("VmRSS")
open("/proc/self/clear_refs", "w").write("5")  # the peak begins anew
data = ready("data=csv", f"data.path={sys.argv[1]}", "data.target=y")
data.trainer = SimpleNamespace(global_rank=0, world_size=1, current_epoch=0)
for block in data.train_dataloader():
    for part in block.num.split(256):
        part.sum()
for batch in batches(data.val):
    batch.num.sum()
arrays = sum(array.nbytes for part in (data.train, data.val, data.test) for array in part)
print((kilobytes("VmHWM") - base) * 1024 / arrays)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "limit"),
    [(np.float32, 2.0), (np.float64, 2.0)],
)
@pytest.mark.parametrize("shape", [(10**6, 20), (10**5, 200)])
def test_peak_memory_is_bounded_by_the_prepared_arrays(shape: tuple[int, int], kind: type, limit: float) -> None:
    values = np.random.default_rng(0).normal(size=shape)
    frame = pd.DataFrame(values.astype(kind), columns=[f"c{i}" for i in range(shape[1])])
    frame.assign(y=np.where(values[:, 0] > 0, "yes", "no")).to_parquet("t.parquet")
    said = python(PEAK, "t.parquet").communicate()[0]
    assert float(said) <= limit
