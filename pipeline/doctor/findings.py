"""All rules in their order, and which findings explain which."""

from collections.abc import Callable, Iterator, Sequence

from pipeline.doctor import inside, results
from pipeline.doctor.evidence import Evidence
from pipeline.doctor.finding import Finding

Rule = Callable[[Evidence], Iterator[Finding]]

RULES: tuple[Rule, ...] = (
    results.unscaled_inputs, results.leaking_column, inside.symmetric_units, inside.exploding_gradients,
    inside.lr_too_high, inside.dead_units, inside.saturated_units, inside.vanishing_gradients, inside.bad_start,
    inside.lr_too_low, results.undertrained, results.not_learning, results.class_imbalance,
    results.class_never_predicted, results.overfitting, results.plateau, results.miscalibrated,
    results.worse_than_linear,
)  # fmt: skip
EARLY: tuple[Rule, ...] = (
    results.unscaled_inputs, inside.symmetric_units, inside.exploding_gradients, inside.vanishing_gradients,
)  # fmt: skip
SIGNALS = {"symmetric_units", "exploding_gradients", "vanishing_gradients"}
CAUSES = SIGNALS | {"unscaled_inputs", "lr_too_high", "lr_too_low", "dead_units", "saturated_units"}
EXPLAINED_BY: dict[str, set[str]] = {  # a finding that follows from one of these is not told
    "lr_too_high": {"exploding_gradients", "unscaled_inputs", "symmetric_units"},
    "lr_too_low": SIGNALS | {"dead_units"},
    "dead_units": {"symmetric_units", "vanishing_gradients"},
    "vanishing_gradients": {"symmetric_units"},
    "bad_start": {"unscaled_inputs", "exploding_gradients"},
    "undertrained": SIGNALS | {"unscaled_inputs", "lr_too_low"},
    "not_learning": CAUSES,
    "class_imbalance": CAUSES,
    "class_never_predicted": CAUSES | {"not_learning"},
    "overfitting": CAUSES - {"unscaled_inputs"},
    "plateau": CAUSES | {"not_learning"},
    "miscalibrated": CAUSES | {"not_learning"},
    "worse_than_linear": CAUSES | {"not_learning"},
}


def findings_of(evidence: Evidence) -> list[Finding]:
    """What is wrong with a run, causes first; what follows from them is left out."""
    return _found(RULES, evidence)


def certain(evidence: Evidence) -> list[Finding]:
    """What can be said while a run is still going on."""
    return _found(EARLY, evidence)


def _found(rules: Sequence[Rule], evidence: Evidence) -> list[Finding]:
    found: dict[str, Finding] = {}
    for rule in rules:
        for finding in rule(evidence):
            found.setdefault(finding.name, finding)
    return [finding for name, finding in found.items() if not found.keys() & EXPLAINED_BY.get(name, set())]
