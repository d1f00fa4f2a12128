"""The verdict on a network beside its baselines: exact sentences from answers that are known."""

import re

import numpy as np

from pipeline.verdict import verdict

Y = np.array([0, 1] * 100)


def sure(chance: float, wrong: int = 0) -> np.ndarray:
    """Probabilities (N, 2) that give the true class `chance`, and in the first rows the other one."""
    one = np.where(Y == 1, chance, 1 - chance)
    one[:wrong] = 1 - one[:wrong]
    return np.stack([1 - one, one], axis=1)


def said(prediction: np.ndarray, metric: str = "log_loss", **answers: np.ndarray) -> str:
    return verdict("binary", metric, Y, prediction, answers, seed=0)


def test_a_network_that_beats_the_best_baseline_beats_them_all() -> None:
    assert said(sure(0.9), dummy=sure(0.5), linear=sure(0.8)) == (
        "the network beats linear, the best baseline: log_loss 0.1054 against 0.2231 "
        "(better by 0.1178, 95 % interval 0.1178 to 0.1178, paired bootstrap over 200 test rows)"
    )


def test_a_network_that_is_worse_loses() -> None:
    assert said(sure(0.8), hist_gb=sure(0.9)) == (
        "the network loses to hist_gb, the best baseline: log_loss 0.2231 against 0.1054 "
        "(worse by 0.1178, 95 % interval 0.1178 to 0.1178, paired bootstrap over 200 test rows); "
        "consider hist_gb instead"
    )


def test_what_is_within_the_noise_of_the_rows_is_no_win() -> None:
    start = "the network does not beat linear, the best baseline, by more than noise: accuracy "
    end = r", paired bootstrap over 200 test rows\); linear may do as well"
    other = sure(0.9)
    other[-2:] = other[-2:, ::-1]
    worse = r"0\.985 against 0\.99 \(worse by 0\.005, 95 % interval -0\.\d+ to 0\.\d+"
    better = r"0\.995 against 0\.99 \(better by 0\.005, 95 % interval -0\.\d+ to 0\.\d+"
    assert re.fullmatch(start + worse + end, said(sure(0.9, 3), "accuracy", linear=other))
    assert re.fullmatch(start + better + end, said(sure(0.9, 1), "accuracy", linear=other))


def test_where_higher_is_better_the_highest_is_best() -> None:
    found = said(sure(0.9), "accuracy", dummy=sure(0.9, 100), linear=sure(0.9, 40))
    assert found.startswith("the network beats linear, the best baseline: accuracy 1 against 0.8 (better by 0.2, ")


def test_a_regression_is_judged_in_its_unit() -> None:
    y = np.linspace(0, 1000, 50)[:, None]
    assert verdict("regression", "rmse", y, y + 1, {"linear": y + 3}, seed=0) == (
        "the network beats linear, the best baseline: rmse 1 against 3 "
        "(better by 2, 95 % interval 2 to 2, paired bootstrap over 50 test rows)"
    )


def test_nothing_is_said_without_baselines_or_where_the_metric_is_not_defined() -> None:
    assert said(sure(0.9)) == ""
    one_class = np.zeros(10, np.int64)
    assert verdict("binary", "roc_auc", one_class, sure(0.9)[:10], {"dummy": sure(0.5)[:10]}, seed=0) == ""
