"""What a search space may hold at a place: ranges, choices, lists, switches."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from pipeline.mistakes import shown
from pipeline.sections import Number, Whole

Scalar = bool | int | float | str | None
Value = Any  # what a config path may hold: a scalar or a list of them


class Part(BaseModel):
    """What every distribution may say: the task that it is for, where it is for one only."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    task: Literal["classification", "regression"] | None = None


class Float(Part):
    """Numbers from low to high; by their logarithm with log, in steps with step."""

    type: Literal["float"]
    low: Number
    high: Number
    log: bool = False
    step: Annotated[Number, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        _require_range(self)
        return self


class Int(Part):
    """Whole numbers from low to high; by their logarithm with log, in steps with step."""

    type: Literal["int"]
    low: Whole
    high: Whole
    log: bool = False
    step: Annotated[Whole, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        _require_range(self)
        return self


class Categorical(Part):
    """One of the choices; `branches` opens further paths for single choices."""

    type: Literal["categorical"]
    choices: Annotated[tuple[Any, ...], Field(min_length=1)]
    branches: dict[str, dict[str, Any]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _branches_are_of_choices(self) -> Self:
        labels = [plain(choice) for choice in self.choices]
        for place, choice in enumerate(self.choices):
            if labels.index(label := labels[place]) < place:
                raise ValueError(f"choices: must differ, got {label} twice")
            if (first := self.choices.index(choice)) < place:  # Optuna finds choices by ==, where false is 0
                raise ValueError(f"choices: must differ, got {labels[first]} and {label}")
        for branch in self.branches:
            if branch not in labels:
                raise ValueError(f"branches: '{branch}' is none of the choices {', '.join(labels)}")
        return self


class Many(Part):
    """A list: how many entries, and what each may be; one value for all of them with shared.

    `length` is a whole number, a range of them, or the path of another list that gives it.
    """

    type: Literal["list"]
    length: Int | Whole | str
    each: Annotated[Float | Int | Categorical, Field(discriminator="type")]
    shared: bool = False


class Switch(Part):
    """One of several spaces; its own name is no config path."""

    type: Literal["switch"]
    branches: Annotated[dict[str, dict[str, Any]], Field(min_length=2)]


Distribution = Float | Int | Categorical | Many | Switch
TYPES = ("float", "int", "categorical", "list", "switch")
Primitive = Float | Int | Categorical
ADAPTER: TypeAdapter[Distribution] = TypeAdapter(Annotated[Distribution, Field(discriminator="type")])


def _require_range(given: Float | Int) -> None:
    if given.low > given.high:
        raise ValueError(f"low: must not be above high {given.high}, got {given.low}")
    if given.log and given.low <= 0:
        raise ValueError(f"low: must be above 0 with log, got {given.low}")
    if given.log and given.step is not None:
        raise ValueError(f"step: cannot be used with log, got {given.step}")


def plain(value: Value) -> str:
    """A choice as text, as `branches` names it."""
    return value if isinstance(value, str) else shown(list(value) if isinstance(value, tuple) else value)
