"""A search space: what may be asked for, walked choice by choice into a list of overrides.

One walk serves all that is done with a space. What differs is who answers its questions: Optuna's sampler, the ends of
each range (to check them), or the default config (to start from it).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from pipeline.distributions import (
    ADAPTER,
    TYPES,
    Categorical,
    Distribution,
    Int,
    Many,
    Primitive,
    Scalar,
    Switch,
    Value,
    plain,
)
from pipeline.errors import ConfigError
from pipeline.mistakes import NO_SECTION, rule, shown
from pipeline.types import Task


class Question(NamedTuple):
    """What a walk asks: a parameter's name, what it may be, and the place in the config that it fills.

    `position` is the entry of a list, −1 for its length, None for a place of its own; `path` is "" for a switch.
    """

    name: str
    kind: Primitive
    path: str
    position: int | None = None


Ask = Callable[[Question], Scalar]
Answers = Mapping[str, Value]  # config path: value
Space = Mapping[str, Distribution]


# ---------------------------------------------------------------- reading
def parse_space(given: Mapping[str, Any], place: str = "search.space") -> Space:
    """The distributions by config path; raises ConfigError with a line for every mistake."""
    space, mistakes = _parse(given, place)
    if mistakes:
        raise ConfigError(*mistakes)
    if not space:
        raise ConfigError(
            f"{place}: is empty; give it a path, as '{place}.model.dropout={{type:float,low:0,high:0.5}}'"
        )
    return space


def _parse(given: Mapping[str, Any], place: str) -> tuple[Space, list[str]]:
    space: dict[str, Distribution] = {}
    mistakes: list[str] = []
    for path, value in _flat(given).items():
        if value is None:
            continue  # taken out again by a file that builds on another
        try:
            distribution = ADAPTER.validate_python(value)
        except ValidationError as error:
            mistakes += _explain(error, f"{place}.{path}")
            continue
        if isinstance(distribution, Categorical | Switch):
            parsed = {
                choice: _parse(branch, f"{place}.{path}.branches.{choice}")
                for choice, branch in distribution.branches.items()
            }
            mistakes += [line for _, lines in parsed.values() for line in lines]
            branches = {choice: branch for choice, (branch, _) in parsed.items()}
            distribution = distribution.model_copy(update={"branches": branches})
        space[path] = distribution
    return space, mistakes


def space_for(space: Space, task: Task) -> Space:
    """The space without what is for other tasks."""
    kind = "regression" if task == "regression" else "classification"
    return {path: part for path, part in space.items() if part.task in (None, kind)}


def _flat(given: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings as dotted paths; what is said of a path in both ways is joined."""
    found: dict[str, Any] = {}
    _flatten(given, "", found)
    return found


def _flatten(given: Mapping[str, Any], prefix: str, found: dict[str, Any]) -> None:
    for key, value in given.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and isinstance(found.get(path), Mapping):
            found[path] = _joined(found[path], value)
        elif isinstance(value, Mapping) and "type" not in value:
            _flatten(value, f"{path}.", found)
        else:
            found[path] = value


def _joined(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    both = {key for key in new if isinstance(old.get(key), Mapping) and isinstance(new[key], Mapping)}
    return {**old, **new, **{key: _joined(old[key], new[key]) for key in both}}


def _explain(error: ValidationError, place: str) -> list[str]:
    """A line for every mistake in a distribution."""
    lines: dict[str, str] = {}
    for detail in error.errors():
        names = [
            str(part)
            for part in detail["loc"]
            if part not in (*TYPES, "str") and str(part).isidentifier() and str(part).islower()
        ]
        path = ".".join([place, *names])
        lines.setdefault(path, f"{path}{_fault(detail)}")
    return list(lines.values())


def _fault(detail: ErrorDetails) -> str:
    """What is wrong, as the line goes on after the place."""
    code, context, got = detail["type"], detail.get("ctx", {}), f"got {shown(detail['input'])}"
    if code == "value_error":
        return f".{context['error']}"
    if code == "union_tag_invalid":
        return f": type must be {', '.join(TYPES)}, got '{context['tag']}'"
    if code == "union_tag_not_found" or code in NO_SECTION:
        return f": must be a distribution, as {{type:float,low:0,high:1}}, {got}"
    words = {"extra_forbidden": ": no such setting", "missing": ": must be given"}
    return words.get(code, f": {rule(detail['msg'])}, {got}")


# ---------------------------------------------------------------- walking
def walk(space: Space, ask: Ask, lengths: Callable[[str], int]) -> dict[str, Value]:
    """The config paths that the answers fill, in order; `lengths` tells a list's length in the config itself."""
    answers: dict[str, Value] = {}
    _walk(space, ask, lengths, "", answers)
    return answers


def _walk(space: Space, ask: Ask, lengths: Callable[[str], int], context: str, answers: dict[str, Value]) -> None:
    for path, kind in space.items():
        name = f"{path}{context}"
        if isinstance(kind, Switch):
            choice = ask(Question(name, Categorical(type="categorical", choices=tuple(kind.branches)), ""))
        elif isinstance(kind, Many):
            answers[path] = _list(name, path, kind, ask, lambda other: _length(other, answers, lengths))
            continue
        else:
            choice = answers[path] = ask(Question(name, kind, path))
        branch = getattr(kind, "branches", {}).get(plain(choice))
        if branch:
            _walk(branch, ask, lengths, f"{context}/{plain(choice)}", answers)


def _list(name: str, path: str, kind: Many, ask: Ask, length_of: Callable[[str], int]) -> list[Value]:
    if isinstance(kind.length, Int):
        n = ask(Question(f"{name}.length", kind.length, path, -1))
    else:
        n = kind.length if isinstance(kind.length, int) else length_of(kind.length)
    assert isinstance(n, int)
    if kind.shared and n:
        return [ask(Question(name, kind.each, path, 0))] * n
    return [ask(Question(f"{name}.{index}", kind.each, path, index)) for index in range(n)]


def _length(path: str, answers: Answers, lengths: Callable[[str], int]) -> int:
    return len(answers[path]) if path in answers else lengths(path)


def overrides_of(answers: Answers) -> list[str]:
    """Answers as overrides; a group's choice comes before its settings."""
    ordered = sorted(answers, key=lambda path: path.count("."))
    return [f"{path}={shown(answers[path])}" if "." in path else f"{path}={answers[path]}" for path in ordered]


# ---------------------------------------------------------------- ends and grids
def ends(space: Space, lengths: Callable[[str], int]) -> Iterator[dict[str, Value]]:
    """Answers that reach both ends of every range and every choice of every branch, one change at a time."""
    seen: set[tuple[str, str]] = set()
    scripts: list[dict[str, Scalar]] = [{}]
    while scripts:
        script = scripts.pop()
        asked: list[Question] = []
        yield walk(space, _scripted(script, asked), lengths)
        for question in asked:
            for value in _ends(question.kind):
                if (question.name, plain(value)) not in seen:
                    seen.add((question.name, plain(value)))
                    scripts.append(script | {question.name: value})


def grid(space: Space, lengths: Callable[[str], int]) -> list[dict[str, Scalar]]:
    """Every combination of a space of finite ranges, by parameter name.

    Raises:
        ConfigError: a range has no step.
    """
    found: dict[tuple[tuple[str, str], ...], dict[str, Scalar]] = {}
    waiting: list[dict[str, Scalar]] = [{}]
    while waiting:
        script = waiting.pop()
        asked: list[Question] = []
        walk(space, _scripted(script, asked), lengths)
        new = [question for question in asked if question.name not in script]
        if not new:
            found.setdefault(tuple((name, plain(value)) for name, value in script.items()), script)
            continue
        waiting += [script | {new[0].name: value} for value in reversed(_points(new[0]))]
    return list(found.values())


def _scripted(script: Mapping[str, Scalar], asked: list[Question]) -> Ask:
    """Answers as scripted, else with the lower end; notes what was asked."""

    def ask(question: Question) -> Scalar:
        asked.append(question)
        return script[question.name] if question.name in script else _ends(question.kind)[0]

    return ask


def _ends(kind: Primitive) -> Sequence[Scalar]:
    return kind.choices if isinstance(kind, Categorical) else (kind.low, kind.high)


def _points(question: Question) -> Sequence[Scalar]:
    kind = question.kind
    if isinstance(kind, Categorical):
        return kind.choices
    step = kind.step or (1 if isinstance(kind, Int) and not kind.log else None)
    if step is None:
        raise ConfigError(f"search.space.{question.path}: study.sampler=grid needs a step, as step=0.1, or choices")
    n_points = int((kind.high - kind.low) / step + 1e-9) + 1
    return [kind.low + index * step for index in range(n_points)]


# ---------------------------------------------------------------- the settings that are there already
def nearest(
    space: Space, known: Callable[[str], Value], lengths: Callable[[str], int]
) -> tuple[dict[str, Scalar], list[str]]:
    """Parameters that come nearest to known settings, and a note for each that the space does not hold.

    Args:
        space: the space.
        known: the value at a config path, a group's choice among them; None where there is none.
        lengths: as for `walk`.
    """
    parameters: dict[str, Scalar] = {}
    notes: list[str] = []

    def ask(question: Question) -> Scalar:
        value = _known(question, known)
        found = parameters[question.name] = _nearest(question.kind, value)
        if value is not None and plain(found) != plain(value) and found != value:
            notes.append(f"{question.path}={shown(value)} lies outside the space; the nearest is {shown(found)}")
        return found

    walk(space, ask, lengths)
    return parameters, notes


def _known(question: Question, known: Callable[[str], Value]) -> Value:
    value = known(question.path) if question.path else None
    if question.position is None or value is None:
        return list(value) if isinstance(value, tuple) else value
    entries = list(value) if isinstance(value, list | tuple) else [value]
    if question.position < 0:
        return len(entries)
    return entries[min(question.position, len(entries) - 1)] if entries else None


def _nearest(kind: Primitive, value: Value) -> Scalar:
    if isinstance(kind, Categorical):
        found: Scalar = next((choice for choice in kind.choices if plain(choice) == plain(value)), kind.choices[0])
        return found
    if isinstance(value, bool) or not isinstance(value, int | float):
        return kind.low
    inside = min(max(value, kind.low), kind.high)
    if kind.step is not None:
        inside = min(kind.low + round((inside - kind.low) / kind.step) * kind.step, kind.high)
    return round(inside) if isinstance(kind, Int) else float(inside)
