"""What is wrong with a config's values, in a line each: the name as typed, the rule, the value."""

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from pipeline.comparison_config import ComparisonConfig
from pipeline.config import Config, choices_of
from pipeline.leaderboard_config import LeaderboardConfig
from pipeline.sections import FOLDER, NOT_TYPED
from pipeline.study_config import StudyConfig


class AnyConfig(StudyConfig, ComparisonConfig, LeaderboardConfig):
    """The sections of every command."""


NO_SECTION = ("model_type", "model_attributes_type")  # pydantic's codes for a scalar or list instead of settings


def mistakes_of(error: ValidationError, values: Mapping[str, Any], kind: type[Config]) -> list[str]:
    """A line for every place at which pydantic found a mistake."""
    places: dict[str, list[ErrorDetails]] = {}
    for detail in _of_the_form_written(error.errors(), values):
        places.setdefault(_path(detail["loc"]), []).append(detail)
    return [_explain(path, details, values, kind) for path, details in places.items()]


def key_of(override: str) -> str:
    """What an override sets or chooses, as it is written."""
    return override.lstrip("+~").partition("=")[0]


def hint(name: str, known: Iterable[str]) -> str:
    """What an unknown name may have meant, else what there is."""
    close = difflib.get_close_matches(name, known := sorted(known), n=1)
    if close:
        return f", did you mean '{close[0]}'?"
    return f"; choices: {', '.join(known)}" if known else "; there are none"


def command_of(group: str) -> str | None:
    """The command that has a section which a training run has not."""
    return next(
        (kind.root for kind in (StudyConfig, ComparisonConfig, LeaderboardConfig) if group in kind.model_fields), None
    )


def _of_the_form_written(details: Iterable[ErrorDetails], values: Mapping[str, Any]) -> list[ErrorDetails]:
    """Where a field takes one value or a list, leave out what pydantic says of the form that was not written."""
    kept = []
    for names, group in groupby(details, key=lambda detail: _path(detail["loc"]).split(".")[:2]):
        of_field, value = list(group), _value(values, names)
        written = [detail for detail in of_field if _is_of_list(detail) == isinstance(value, list)]
        kept += written or of_field
    return kept


def _is_of_list(detail: ErrorDetails) -> bool:
    return any(str(part).startswith("tuple[") for part in detail["loc"])


def _value(values: Any, names: Iterable[str]) -> Any:  # any value a YAML file may hold
    for name in names:
        values = values.get(name) if isinstance(values, Mapping) else None
    return values


def _explain(path: str, details: Sequence[ErrorDetails], values: Mapping[str, Any], kind: type[Config]) -> str:
    """One line for what is wrong at one place: the name as typed, the rule, the value."""
    detail = details[0]
    code, context, got = detail["type"], detail.get("ctx", {}), f"got {shown(detail['input'])}"
    if code == "extra_forbidden":
        return f"{path}: no such setting{hint(path.rpartition('.')[2], _siblings(path, values, kind))}"
    if code == "missing" and isinstance(detail["loc"][-1], int):
        return f"{path.rpartition('.')[0]}: has too few entries, {got}"
    if code == "missing":
        return f"{path}: must be given, as {path}=VALUE"
    if code == "value_error":
        return f"{path}.{context['error']}"
    if code == "union_tag_not_found":
        return f"{path}.name: must be given; choices: {', '.join(choices_of(path, AnyConfig))}"
    if code == "union_tag_invalid":
        return f"{path}.name: no such choice, got '{context['tag']}'{hint(context['tag'], choices_of(path, AnyConfig))}"
    if code in NO_SECTION:
        return f"{path}: must be a group of settings, {got}"
    rules = [rule(other["msg"]) for other in details]
    return f"{path}: {' or '.join([rules[0], *(rule.removeprefix('must be ') for rule in rules[1:])])}, {got}"


def _path(loc: tuple[int | str, ...]) -> str:
    """Dotted path of a mistake without pydantic's own marks: union tags and the types it tried."""
    section, *rest = loc
    if rest and rest[0] in choices_of(str(section), AnyConfig):
        rest = rest[1:]
    names = [str(part) for part in rest if isinstance(part, int) or part.isidentifier()]
    kept = [name for name in names if name not in ("int", "float", "bool", "str", "constrained", "tuple")]
    return ".".join([str(section), *kept[:2]])


def _siblings(path: str, values: Mapping[str, Any], kind: type[Config]) -> Iterable[str]:
    section, _, field = path.partition(".")
    if not field:
        return kind.model_fields
    choices = choices_of(section, AnyConfig)
    chosen = choices.get(values[section].get("name")) or next(iter(choices.values()))
    return [name for name in chosen.model_fields if name not in NOT_TYPED]


def rule(message: str) -> str:
    """What pydantic says of a value, in our words."""
    message = message.partition(", unable")[0]
    for pydantic_word, word in (
        ("Input should be", "must be"), ("a valid dictionary", "names with a value each"),
        ("String should", "must"), ("Tuple should", "must"),
        ("a valid integer", "a whole number"), ("a valid number", "a number"), ("a valid string", "text"),
        (f"match pattern '{FOLDER}'", "be a folder's name, without / and \\"), ("a valid boolean", "true or false"),
        ("a valid tuple", "a list"), (" after validation", ""),
    ):  # fmt: skip
        message = message.replace(pydantic_word, word)
    return message


def shown(value: object) -> str:
    """A value as it is typed in an override."""
    words = {None: "null", True: "true", False: "false"}
    if isinstance(value, bool | None):
        return words[value]
    if isinstance(value, list):
        return f"[{','.join(map(shown, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{shown(entry)}' for key, entry in value.items())}}}"
    if not isinstance(value, str):
        return str(value)
    escaped = re.sub(r"(\\*)('|\Z)", lambda found: found[1] * 2 + found[2].replace("'", r"\'"), value)
    return f"'{escaped}'"


def differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """Where two nested values of JSON differ, as `path was old, is new`."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys([*old, *new]):
            yield from differences(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
    elif json.dumps(old) != json.dumps(new):
        yield f"{path} was {json.dumps(old)}, is {json.dumps(new)}"
