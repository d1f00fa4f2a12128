"""Tables that are made: the same each time, and what they are made for."""

import numpy as np

from pipeline.data.made import make_outliers, make_sparse


def test_a_share_of_the_targets_is_far_off_and_the_rest_as_without() -> None:
    plain, _ = make_outliers(0.0)
    thrown, _ = make_outliers(0.1)
    excess = thrown["target"] - plain["target"]
    assert (excess > 0).sum() == 100
    assert excess[excess > 0].min() > 29
    assert plain["target"].max() < 35
    assert thrown.drop(columns="target").equals(plain.drop(columns="target"))


def test_most_words_of_a_column_are_rare() -> None:
    frame, _ = make_sparse()
    counts = frame["column 0"].value_counts(normalize=True)
    assert len(counts) == 40
    assert counts.iloc[0] > 0.2
    assert counts.iloc[20:].sum() < 0.2
    assert np.isclose((frame["target"] == "yes").mean(), 0.5, atol=0.01)


def test_made_tables_are_the_same_each_time() -> None:
    assert make_sparse()[0].equals(make_sparse()[0])
