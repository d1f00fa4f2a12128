"""Which network `model=auto` stands for: rules on the table's shape, with the measurements behind them."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pipeline.data.shape import Shape

AUTO = "auto"


class Choice(NamedTuple):
    """A network, and settings other than its recipe's, as overrides."""

    model: str
    settings: tuple[str, ...] = ()


class Rule(NamedTuple):
    """What is chosen for the tables that a condition holds for."""

    applies: "Callable[[Shape], bool]"
    choice: Choice


RULES: tuple[Rule, ...] = (Rule(lambda shape: True, Choice("realmlp")),)


def choose(shape: "Shape") -> Choice:
    """The choice of the first rule that applies; the last one applies to every table."""
    return next(rule.choice for rule in RULES if rule.applies(shape))


def named(overrides: Sequence[str], data: Mapping[str, Any]) -> list[str]:
    """The overrides of a config with model=auto, with the network for its table named.

    Args:
        overrides: as they were given; they win over the choice's settings.
        data: the sound values of the config's section.

    Raises:
        DataError: the table cannot be read.
    """
    from pipeline.data.shape import shape_of

    shape = shape_of(data)
    choice = choose(shape)
    return [*choice.settings, *overrides, f"model={choice.model}", f"model.chosen='{shape}'"]
