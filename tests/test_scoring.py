"""Files scored: each row answered or named, in chunks, from and to any kind of file."""

import gzip
import io
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline import streams
from pipeline.bundle import Bundle
from pipeline.errors import DataError
from pipeline.scoring import score
from tests.conftest import Done
from tests.models import TARGETS, bundle_folder_of, frame, trained

FAULTY = "row,column,value,expected\n"


def bundle(target: str = "bought") -> Bundle:
    return Bundle.load(bundle_folder_of(*trained(target)))


def silent(done: int, total: int | None) -> None:
    """No progress."""


def table(n_rows: int = 300) -> pd.DataFrame:
    return frame().drop(columns=list(TARGETS)).head(n_rows)


def written(path: Path, rows: pd.DataFrame) -> str:
    rows.to_parquet(path) if path.suffix == ".parquet" else rows.to_csv(path, index=False)
    return str(path)


def scored(tmp_path: Path, source: str, target: str = "out.parquet", **asked: object) -> pd.DataFrame:
    score(bundle(), source, str(tmp_path / target), progress=silent, **asked)  # type: ignore[arg-type]
    return pd.read_parquet(tmp_path / target) if target.endswith("parquet") else pd.read_csv(tmp_path / target)


def test_csv_gzip_and_parquet_give_the_same_answers(tmp_path: Path) -> None:
    answers = [scored(tmp_path, written(tmp_path / name, table())) for name in ("t.parquet", "t.csv", "t.csv.gz")]
    assert len(answers[0]) == 300
    assert list(answers[0]) == ["predicted", "probability of no", "probability of yes", "set"]
    for other in answers[1:]:
        pd.testing.assert_frame_equal(answers[0], other)


def test_answers_are_those_of_the_network_in_its_test_rows(tmp_path: Path) -> None:
    root, run_id = trained()
    tested = pd.read_parquet(root / "artifacts" / run_id / "artifacts" / "predictions" / "test.parquet")
    answers = scored(tmp_path, written(tmp_path / "t.parquet", table()))
    assert answers["predicted"].iloc[tested["row"] - 1].tolist() == tested["predicted"].tolist()


def test_chunks_change_nothing_and_rows_are_counted_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = table().astype({"count": object})
    rows.loc[[5, 250], "count"] = "many"
    whole = scored(tmp_path, written(tmp_path / "t.csv", rows))
    monkeypatch.setattr(streams, "CHUNK_ROWS", 64)
    parts = scored(tmp_path, written(tmp_path / "t.csv", rows), "parts.parquet")
    pd.testing.assert_frame_equal(whole, parts)
    errors = (tmp_path / "parts.parquet.errors.csv").read_text()
    assert errors == FAULTY + "".join(f"{n},count,many,a number (in training 0 to 49) or null\n" for n in (6, 251))


def test_a_row_at_fault_has_an_empty_answer_and_the_others_theirs(tmp_path: Path) -> None:
    rows = table(10).astype({"x": object})
    rows.loc[3, "x"] = "inf"
    clean = scored(tmp_path, written(tmp_path / "clean.csv", table(10)))
    answers = scored(tmp_path, written(tmp_path / "t.csv", rows), "bad.parquet")
    assert answers.iloc[3].isna().all()
    pd.testing.assert_frame_equal(answers.drop(3), clean.drop(3))


def test_columns_are_kept_and_csv_holds_sets_as_json(tmp_path: Path) -> None:
    rows = table(5).assign(key=[f"k{n}" for n in range(5)])
    answers = scored(tmp_path, written(tmp_path / "t.csv", rows), "out.csv", keep=["key", "city"])
    assert list(answers)[:3] == ["key", "city", "predicted"]
    assert answers["key"].tolist() == rows["key"].tolist()
    assert set(answers["set"]) <= {'["no"]', '["yes"]', '["no", "yes"]'}


def test_other_types_that_say_the_same_are_taken(tmp_path: Path) -> None:
    rows = table(20)
    other = rows.assign(
        x=rows["x"].astype("float32"), count=rows["count"].astype(str), member=rows["member"].astype(str),
        joined=rows["joined"].dt.strftime("%Y-%m-%dT%H:%M:%S"), colour=rows["colour"].astype("category"),
    )  # fmt: skip
    expected = scored(tmp_path, written(tmp_path / "a.parquet", rows))
    found = scored(tmp_path, written(tmp_path / "b.parquet", other), "b_out.parquet")
    assert found["predicted"].tolist() == expected["predicted"].tolist()
    np.testing.assert_allclose(found["probability of yes"], expected["probability of yes"], atol=1e-5)


def test_a_kept_category_is_written_as_its_text(tmp_path: Path) -> None:
    rows = table(6).astype({"city": "category"})
    answers = scored(tmp_path, written(tmp_path / "t.parquet", rows), "out.csv", keep=["city"])
    assert answers["city"].fillna("").tolist() == rows["city"].astype(object).fillna("").tolist()


def test_text_as_in_csv_is_read_as_training_reads_it_and_text_in_parquet_as_it_stands(tmp_path: Path) -> None:
    rows = table(20)
    lower = rows.assign(member=rows["member"].astype(str).str.lower())
    expected = scored(tmp_path, written(tmp_path / "a.parquet", rows))
    in_csv = scored(tmp_path, written(tmp_path / "b.csv", lower), "b_out.parquet")
    pd.testing.assert_frame_equal(in_csv, expected)
    in_parquet = scored(tmp_path, written(tmp_path / "c.parquet", lower), "c_out.parquet")
    unknown = scored(tmp_path, written(tmp_path / "d.parquet", rows.assign(member="neither")), "d_out.parquet")
    pd.testing.assert_frame_equal(in_parquet, unknown)


def test_values_that_cannot_be_a_category_are_faults_of_their_rows(tmp_path: Path) -> None:
    rows = table(3).assign(city=pd.Series([["a"], None, ["b"]], dtype=object))
    answers = scored(tmp_path, written(tmp_path / "t.parquet", rows))
    assert answers["predicted"].isna().tolist() == [True, False, True]
    told = pd.read_csv(tmp_path / "out.parquet.errors.csv")
    assert told[["row", "column", "value"]].to_numpy().tolist() == [[1, "city", "['a']"], [3, "city", "['b']"]]


# ---------------------------------------------------------------- mistakes
@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("none.csv", "out.csv", "none.csv: no such file"),
        ("t.txt", "out.csv", "t.txt: must end with .csv, .csv.gz, .parquet, or be - for CSV on a standard stream"),
        ("t.csv", "out.xlsx", "out.xlsx: must end with .csv, .csv.gz, .parquet, or be - for CSV on a standard stream"),
        ("bad.parquet", "out.csv", "bad.parquet: cannot be read: "),
        ("empty.csv", "out.csv", "empty.csv: has no rows"),
        ("t.csv", "no/such/folder/out.csv", "no/such/folder/out.csv: cannot be written: "),
        ("few.csv", "out.csv", "column 'x': not in the table; columns: y"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_leaves_no_answers(
    source: str, target: str, message: str, tmp_path: Path
) -> None:
    written(tmp_path / "t.csv", table(3))
    (tmp_path / "t.txt").write_text("x")
    (tmp_path / "bad.parquet").write_text("no parquet")
    (tmp_path / "few.csv").write_text("y\n1\n")
    table(0).to_csv(tmp_path / "empty.csv", index=False)
    with pytest.raises(DataError) as error:
        score(bundle(), source, target, progress=silent)
    assert str(error.value).startswith(message)
    assert not Path(target).exists()
    assert not Path(f"{target}.part").exists()


def test_a_column_to_keep_that_is_absent_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="column 'key': not in the table; columns: x, gappy"):
        scored(tmp_path, written(tmp_path / "t.csv", table(3)), keep=["key"])


def test_a_column_to_keep_that_is_called_as_the_answers_are_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="column 'set': cannot be kept, the answers have a column of that name; rename"):
        scored(tmp_path, written(tmp_path / "t.csv", table(3).assign(set=1)), keep=["set"])


# ---------------------------------------------------------------- command
def test_the_command_ends_with_1_where_a_row_could_not_be_scored(cli: Callable[..., Done], tmp_path: Path) -> None:
    root, run_id = trained()
    rows = table(4).astype({"x": object})
    rows.loc[1, "x"] = "?"
    done = cli("predict", run_id, written(tmp_path / "t.csv", rows), "-o", "out.csv", f"tracking.root={root}")
    assert (done.code, done.err) == (1, "error: 1 of 4 rows could not be scored; see out.csv.errors.csv\n")
    assert len(pd.read_csv("out.csv")) == 4


def test_standard_streams_are_read_and_written(monkeypatch: pytest.MonkeyPatch) -> None:
    root, run_id = trained()
    text = table(3).to_csv(index=False).encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
    out = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdout", out)
    score(Bundle.load(bundle_folder_of(root, run_id)), "-", "-", progress=silent)
    assert len(out.buffer.getvalue().splitlines()) == 4


def test_a_gzip_file_is_written(tmp_path: Path) -> None:
    score(bundle(), written(tmp_path / "t.csv", table(3)), "out.csv.gz", progress=silent)
    assert len(gzip.decompress(Path("out.csv.gz").read_bytes()).splitlines()) == 4
