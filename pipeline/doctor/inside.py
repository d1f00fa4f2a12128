"""Rules about what goes on inside: units, gradients, the learning rate."""

import math
from collections.abc import Iterator
from statistics import median

from pipeline.doctor.evidence import FIRST_UPDATE, LARGE_UPDATE, Evidence, updates_of, worst
from pipeline.doctor.finding import Finding
from pipeline.optim import rate_of

DEAD = 0.4  # share of a layer's units
SATURATED = 0.5  # share of a layer's values
VANISHING = 1e-3  # gradient of the first layer over that of the output
EXPLODING = 30.0  # growth of the activations, and of the first loss over that of a constant answer
BAD_START = 10.0  # first loss over that of outputs of 0
SMALL_UPDATE = 2e-4  # change of a step over the weights' size
JUMPS = 0.15  # of the loss between epochs, of a constant answer's


# ---------------------------------------------------------------- units
def symmetric_units(evidence: Evidence) -> Iterator[Finding]:
    """Units that start alike get the same gradient and stay alike."""
    for layer in evidence.last.layers[:-1]:
        if layer.symmetric >= 0.5:
            yield Finding(
                "symmetric_units",
                f"the units of {layer.name} are copies of one another, so the layer is as good as one unit",
                f"{layer.symmetric:.0%} have the weights of another one",
                "50 % or more",
                "Goodfellow et al. 2016, section 8.4",
                ("model.init=auto",),
            )


def dead_units(evidence: Evidence) -> Iterator[Finding]:
    """ReLU units that are 0 on every row get no gradient."""
    found = worst(evidence.last, "dead")
    if found is None or found.dead < DEAD:
        return
    advice = ["model.activation=leaky_relu"]
    rate = rate_of(evidence.config.optimizer)
    if evidence.largest_update > 1:
        advice.append(f"optimizer.lr={rate / 10:g}")
    yield Finding(
        "dead_units",
        f"ReLU units of {found.name} are 0 on every validation row and get no gradient",
        f"{found.dead:.0%} are dead",
        f"{DEAD:.0%} or more",
        "Maas et al. 2013",
        tuple(advice),
    )


def saturated_units(evidence: Evidence) -> Iterator[Finding]:
    """Sigmoid and tanh are flat at their ends."""
    found = worst(evidence.last, "saturated")
    if found is None or found.saturated < SATURATED:
        return
    if evidence.config.preprocess.scaling == "none":
        advice = "preprocess=standard"
    elif not evidence.has_auto_init:
        advice = "model.init=auto"
    else:
        advice = "model.batch_norm=true"
    yield Finding(
        "saturated_units",
        f"{found.activation.lower()} units of {found.name} stand at the ends of their range, where the slope is near 0",
        f"{found.saturated:.0%} of their values",
        f"{SATURATED:.0%} or more",
        "Glorot and Bengio 2010, section 3",
        (advice,),
    )


# ---------------------------------------------------------------- gradients
def vanishing_gradients(evidence: Evidence) -> Iterator[Finding]:
    """The first layers learn nothing where the gradient fades on its way back."""
    if not evidence.stepped or len(evidence.stepped[0].layers) < 3:
        return
    first, *_, last = evidence.stepped[0].layers
    if not (first.gradient > 0 and last.gradient > 0) or first.gradient / last.gradient >= VANISHING:
        return
    saturating = first.activation in ("Sigmoid", "Tanh")
    advice = ["model.activation=relu"] if saturating else []
    advice += [] if evidence.has_auto_init else ["model.init=auto"]
    advice += [] if advice else ["model.batch_norm=true"]
    yield Finding(
        "vanishing_gradients",
        f"the gradient fades on its way back through {len(evidence.stepped[0].layers)} layers, the first hardly learns",
        f"in layer 1 it is {first.gradient / last.gradient:.1e} of that at the output",
        f"below {VANISHING:g}",
        "Hochreiter 1991; Glorot and Bengio 2010",
        tuple(advice),
    )


def exploding_gradients(evidence: Evidence) -> Iterator[Finding]:
    """Activations and gradients that grow from layer to layer."""
    hidden = [layer for layer in evidence.start.layers[:-1] if layer.std > 0]
    growth = hidden[-1].std / hidden[0].std if len(hidden) > 1 else 1.0
    too_large = evidence.start_loss > EXPLODING * evidence.constant_loss or not math.isfinite(evidence.start_loss)
    if growth < EXPLODING and not (too_large and hidden and hidden[-1].std > EXPLODING):
        return
    advice = ["model.init=auto"] if not evidence.has_auto_init else ["model.batch_norm=true"]
    yield Finding(
        "exploding_gradients",
        "signals grow from layer to layer, and the gradients with them",
        f"before the first step the activations of {hidden[-1].name} spread {hidden[-1].std:.3g}, "
        f"{growth:.3g} times those of layer 1, and the loss is {evidence.start_loss:.3g}",
        f"{EXPLODING:g} times or more, or a loss {EXPLODING:g} times that of a constant answer",
        "Glorot and Bengio 2010; He et al. 2015, section 2.2",
        (*advice, "trainer.gradient_clip_val=1"),
    )


def bad_start(evidence: Evidence) -> Iterator[Finding]:
    """A network that has seen nothing should be no worse than a constant answer."""
    if not evidence.start_loss / evidence.neutral_loss < BAD_START:
        yield Finding(
            "bad_start",
            "the loss before the first step is far above that of no answer at all: weights or inputs are too large",
            f"{evidence.start_loss:.3g} against {evidence.neutral_loss:.3g}",
            f"{BAD_START:g} times or more",
            "Karpathy 2019, a recipe for training neural networks",
            ("model.init=auto",) if not evidence.has_auto_init else ("preprocess=standard",),
        )


# ---------------------------------------------------------------- learning rate
def lr_too_high(evidence: Evidence) -> Iterator[Finding]:
    """Steps so large that the loss jumps or the run diverges."""
    largest, jumps = evidence.largest_update, evidence.jumps
    if not (evidence.diverged or largest > 1 or jumps > JUMPS):
        return
    if evidence.diverged:
        measured = f"the loss was no finite number any more in epoch {max(1, evidence.last.epoch)}"
    elif largest > 1:
        measured = f"steps change the weights by {largest:.3g} times what is sound"
    else:
        measured = f"between epochs the training loss jumps by {jumps:.0%} of a constant answer's"
    yield Finding(
        "lr_too_high",
        "the learning rate is too high",
        measured,
        f"at most {FIRST_UPDATE:.0%} of their size in the first epoch, {LARGE_UPDATE:.0%} later; jumps of {JUMPS:.0%}",
        "Bengio 2012, section 3.1.1; Karpathy 2022, update ratio about 0.001",
        (f"optimizer.lr={rate_of(evidence.config.optimizer) / 10:g}",),
    )


def lr_too_low(evidence: Evidence) -> Iterator[Finding]:
    """Steps so small that training ends before it has begun."""
    updates = [update for measure in evidence.stepped[1:] or evidence.stepped for update in updates_of(measure)]
    losses = evidence.losses
    if not updates or not len(losses) or median(updates) >= SMALL_UPDATE:
        return
    if not evidence.is_falling and not evidence.is_stuck and losses[-1] < 0.9 * losses[0]:
        return
    yield Finding(
        "lr_too_low",
        "the learning rate is too low: training ends before the network has got far",
        f"a step changes the weights by {median(updates):.1e} of their size",
        f"below {SMALL_UPDATE:g}",
        "Bengio 2012, section 3.1.1; Karpathy 2022, update ratio about 0.001",
        (f"optimizer.lr={rate_of(evidence.config.optimizer) * 10:g}",),
    )
