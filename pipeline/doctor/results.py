"""Rules about what comes out: the course of the losses, the answers, the data behind them."""

from collections.abc import Iterator

import numpy as np

from pipeline.config import Config
from pipeline.doctor.evidence import FALLING, Evidence
from pipeline.doctor.finding import Finding
from pipeline.mistakes import shown
from pipeline.optim import rate_of

OVERFIT, BY_HEART = 0.17, 4.0  # rise of the validation loss, and how often it is the training loss
GAP = 0.05  # of accuracy or R² between training and validation rows
ECE, TEMPERATURE = 0.1, 1.5
RARE, RECALL = 0.2, 0.7  # share of a class, of an even one; share of its rows that is found
UNSCALED = 10.0  # standard deviation of an input; its square between two
LEAK = 0.95  # of what is to be told


def undertrained(evidence: Evidence) -> Iterator[Finding]:
    """The loss still falls at the end."""
    if evidence.is_falling:
        n, losses, quarter = len(evidence.losses), evidence.losses, evidence.quarter
        asked, more = evidence.config.trainer, f"trainer.max_epochs={4 * n}"
        if asked.max_time is not None and n < asked.max_epochs:
            more = f"trainer.max_time={4 * asked.max_time:g}"
        yield Finding(
            "undertrained",
            "the validation loss still falls when training ends",
            f"by {1 - losses[-1] / losses[-1 - quarter]:.0%} on the training rows in the last {quarter} of {n} epochs",
            f"{FALLING:.0%} or more, and the best epoch among the last tenth",
            "Prechelt 1998",
            (more,),
        )


def plateau(evidence: Evidence) -> Iterator[Finding]:
    """Epochs that brought nothing."""
    n, best = len(evidence.history), evidence.best + 1 if evidence.history else 0
    if evidence.config.trainer.patience is not None or n < 20 or best > n / 3 or evidence.rise > OVERFIT:
        return
    yield Finding(
        "plateau",
        "most epochs brought nothing",
        f"the validation loss was lowest in epoch {best} of {n}",
        "in the first third",
        "Prechelt 1998",
        ("trainer.patience=16",),
    )


# ---------------------------------------------------------------- what came out
def not_learning(evidence: Evidence) -> Iterator[Finding]:
    """Hardly better than no inputs at all."""
    if evidence.is_stuck:
        yield Finding(
            "not_learning",
            "the network has learned next to nothing",
            f"its best training loss is {evidence.losses.min():.4g}, a constant answer's {evidence.constant_loss:.4g}",
            "at least 2 % lower",
            "Karpathy 2019, a recipe for training neural networks",
            (f"optimizer.lr={rate_of(evidence.config.optimizer) * 10:g}",),
        )


def overfitting(evidence: Evidence) -> Iterator[Finding]:
    """Much better on rows it was trained on than on others."""
    if evidence.outcome is None or not evidence.history:
        return
    gap, rise = evidence.outcome.gap, evidence.rise
    ratio = evidence.val_losses[evidence.best] / evidence.losses[evidence.best]
    if rise > OVERFIT and (ratio > BY_HEART or (evidence.config.trainer.patience is None and rise > 2 * OVERFIT)):
        what = "the validation loss has risen while the training loss fell"
        measured = f"it ends {rise:.0%} above its lowest, where it is {ratio:.3g} times the training loss"
        threshold = f"{OVERFIT:.0%} or more, and {BY_HEART:g} times"
    elif gap.low > GAP:
        word = "R²" if evidence.task == "regression" else "accuracy"
        what = f"{word} is much better on training rows than on validation rows"
        measured, threshold = f"by {gap.value:.2f} ({gap.low:.2f} to {gap.high:.2f})", f"{GAP:g} or more"
    else:
        return
    yield Finding(
        "overfitting", f"overfitting: {what}", measured, threshold, "Goodfellow et al. 2016, section 5.2",
        _against_overfitting(evidence.config),
    )  # fmt: skip


def miscalibrated(evidence: Evidence) -> Iterator[Finding]:
    """Probabilities that do not come true as often as they say."""
    outcome = evidence.outcome
    if outcome is None or evidence.task == "regression" or len(outcome.y) < 100:
        return
    if outcome.ece > ECE and not 1 / TEMPERATURE < outcome.temperature < TEMPERATURE:
        sure = "too sure" if outcome.temperature > 1 else "not sure enough"
        yield Finding(
            "miscalibrated",
            f"the probabilities are {sure} (the model's answers are corrected for it)",
            f"they miss by {outcome.ece:.2f} on average, the temperature that mends them is {outcome.temperature:.2f}",
            f"{ECE:g} or more, and a temperature beyond {1 / TEMPERATURE:.2f} to {TEMPERATURE:g}",
            "Guo et al. 2017",
            ("loss.label_smoothing=0.1",) if outcome.temperature > 1 else (),
        )


def class_never_predicted(evidence: Evidence) -> Iterator[Finding]:
    """A class that is there, and in no answer."""
    outcome = evidence.outcome
    if outcome is None or evidence.task == "regression":
        return
    predicted = np.bincount(outcome.prediction.argmax(axis=1), minlength=len(outcome.classes))
    there = np.bincount(outcome.y, minlength=len(outcome.classes))
    missed = [code for code in range(len(outcome.classes)) if there[code] >= 3 and predicted[code] == 0]
    if missed:
        names = ", ".join(f"'{outcome.classes[code]}'" for code in missed[:5])
        yield Finding(
            "class_never_predicted",
            f"class {names} is never predicted",
            f"{sum(there[code] for code in missed)} validation rows are of it",
            "3 rows or more, no prediction",
            "He and Garcia 2009",
            _balanced(evidence.config),
        )


def class_imbalance(evidence: Evidence) -> Iterator[Finding]:
    """Few rows of a class, most of which are missed."""
    outcome = evidence.outcome
    if outcome is None or evidence.task == "regression":
        return
    counts = np.array(outcome.class_counts)
    rarest = int(counts.argmin())
    share, own = counts[rarest] / counts.sum(), outcome.y == rarest
    if share >= RARE / len(counts) or own.sum() < 3:
        return
    recall = float((outcome.prediction[own].argmax(axis=1) == rarest).mean())
    if recall < RECALL:
        yield Finding(
            "class_imbalance",
            f"classes are imbalanced, and most rows of the rare class '{outcome.classes[rarest]}' are missed",
            f"{share:.1%} of the training rows are of it, {recall:.0%} of its validation rows are found",
            f"less than {RARE / len(counts):.0%}, and fewer than {RECALL:.0%} found",
            "He and Garcia 2009",
            (*_balanced(evidence.config), "trainer.monitor=val/balanced_accuracy"),
        )


def worse_than_linear(evidence: Evidence) -> Iterator[Finding]:
    """A network should be worth it."""
    linear = evidence.outcome.linear if evidence.outcome else None
    if linear is not None and linear.low > 0:
        yield Finding(
            "worse_than_linear",
            "a linear model is better on the validation rows",
            f"its loss is {linear.value:.3g} lower ({linear.low:.3g} to {linear.high:.3g})",
            "beyond two standard errors",
            "Shwartz-Ziv and Armon 2022",
            ("experiment=linear",),
        )


# ---------------------------------------------------------------- data
def unscaled_inputs(evidence: Evidence) -> Iterator[Finding]:
    """Columns whose numbers are of very different size."""
    spreads = {name: spread for name, spread in evidence.spreads.items() if spread > 0}
    if evidence.config.preprocess.scaling != "none" or not spreads:
        return
    wide, narrow = max(spreads, key=spreads.__getitem__), min(spreads, key=spreads.__getitem__)
    if spreads[wide] > UNSCALED or spreads[wide] / spreads[narrow] > UNSCALED**2:
        yield Finding(
            "unscaled_inputs",
            "the inputs are not scaled, so large columns drown small ones",
            f"the spread of '{wide}' is {spreads[wide]:.3g}, that of '{narrow}' {spreads[narrow]:.3g}",
            f"{UNSCALED:g} or more, or {UNSCALED**2:g} times the smallest",
            "LeCun et al. 1998, section 4.3",
            ("preprocess=standard",),
        )


def leaking_column(evidence: Evidence) -> Iterator[Finding]:
    """A column that tells the target by itself, as one that is only known afterwards does."""
    alone = evidence.outcome.alone if evidence.outcome else None
    if alone is not None and alone[1] > LEAK:
        yield Finding(
            "leaking_column",
            f"column '{alone[0]}' alone tells the target: is it known before the target is?",
            f"it tells {alone[1]:.1%} at least of what a constant answer leaves untold",
            f"{LEAK:.0%} or more",
            "Kaufman et al. 2012",
            (f"data.drop={shown([*evidence.config.data.drop, alone[0]])}",),
        )


def _against_overfitting(config: Config) -> tuple[str, ...]:
    advice = [] if config.trainer.patience is not None else ["trainer.patience=16"]
    advice += ["model.dropout=0.3"] if config.model.dropout == 0 else ["optimizer=adamw", "optimizer.weight_decay=0.1"]
    return tuple(advice)


def _balanced(config: Config) -> tuple[str, ...]:
    return () if getattr(config.loss, "class_weight", None) == "balanced" else ("loss.class_weight=balanced",)
