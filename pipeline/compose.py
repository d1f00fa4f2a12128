"""From overrides to a `Config`: Hydra composes, pydantic validates, all mistakes are reported together."""

import difflib
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from pipeline.config import Config, choices_of
from pipeline.errors import ConfigError

MISSING = "???"  # OmegaConf's mark for a value that must be given
NO_SECTION = ("model_type", "model_attributes_type")  # pydantic's codes for a scalar or list instead of settings


def conf_dir() -> Path:
    """The folder of shipped config groups: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"


def list_groups(config_dir: Path | None = None) -> dict[str, list[str]]:
    """Choices of every config group, shipped and in `config_dir`; names beginning with _ are for inheritance.

    Raises:
        ConfigError: `config_dir` is not there, or a choice in it has the name of a shipped one.
    """
    shipped = {group.name: _choices(group) for group in sorted(conf_dir().iterdir()) if group.is_dir()}
    if config_dir is None:
        return shipped
    if not config_dir.is_dir():
        raise _errors(f"--config-dir: no such folder, got '{config_dir}'")
    own = {group: _choices(config_dir / group) for group in shipped}
    twice = [f"{group}/{choice}.yaml" for group in shipped for choice in own[group] if choice in shipped[group]]
    if twice:
        raise _errors(*(f"--config-dir: {file} has the name of a shipped choice; rename it" for file in twice))
    return {group: sorted([*shipped[group], *own[group]]) for group in shipped}


def _choices(folder: Path) -> list[str]:
    return sorted(file.stem for file in folder.glob("*.yaml") if not file.name.startswith("_"))


def load_config(overrides: Sequence[str] = (), config_dir: Path | None = None) -> Config:
    """Compose and validate the config that `overrides` ask for.

    Args:
        overrides: Hydra's grammar: `group=choice`, `a.b=value`.
        config_dir: a folder of further config groups, searched beside the shipped ones.

    Raises:
        ConfigError: with one line for every mistake found.
    """
    given, mistakes = _prepare(overrides, list_groups(config_dir))
    try:
        config = validate(_compose(given, config_dir))
    except ConfigError as error:
        consequences = tuple(f"{_name(line)}{mark}" for line in mistakes for mark in ".:")
        raise _errors(*mistakes, *(line for line in error.lines if not line.startswith(consequences))) from error
    if mistakes:
        raise _errors(*mistakes)
    return config


def compose_values(overrides: Sequence[str] = (), config_dir: Path | None = None) -> dict[str, Any]:
    """The composed config as plain values, not validated yet."""
    given, mistakes = _prepare(overrides, list_groups(config_dir))
    if mistakes:
        raise _errors(*mistakes)
    return _compose(given, config_dir)


def validate(values: Mapping[str, Any]) -> Config:
    """A `Config` of plain values; raises ConfigError with one line for every mistake."""
    try:
        return Config.model_validate(_without_missing(values))
    except ValidationError as error:
        places: dict[str, list[ErrorDetails]] = {}
        for detail in _of_the_form_written(error.errors(), values):
            places.setdefault(_path(detail["loc"]), []).append(detail)
        raise _errors(*(_explain(path, details, values) for path, details in places.items())) from error


def to_yaml(config: Config) -> str:
    """The config as YAML, in the order of its sections."""
    return str(yaml.dump(config.model_dump(mode="json"), Dumper=_Dumper, sort_keys=False, allow_unicode=True))


class _Dumper(yaml.SafeDumper):
    """Writes text so that it is read back as it was: unquoted, PyYAML's line ends of Unicode come back as spaces."""

    def represent_str(self, data: str) -> yaml.ScalarNode:
        style = '"' if {*data} & {*"\x85\u2028\u2029"} else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Dumper.add_representer(str, _Dumper.represent_str)


def _errors(*lines: str) -> ConfigError:
    """Mistakes, each said once and in one line, whatever line ends a value holds."""
    return ConfigError(*dict.fromkeys(" ".join(line.split()) for line in lines))


# ---------------------------------------------------------------- overrides
def _prepare(overrides: Iterable[str], groups: Mapping[str, Sequence[str]]) -> tuple[list[str], list[str]]:
    """Overrides as Hydra takes them, and the mistakes in those that it is not given."""
    parser, given, mistakes = OverridesParser.create(), [], []
    for text in overrides:
        try:
            override = parser.parse_override(text)
        except HydraException:
            mistakes.append(_unreadable(text))
            continue
        mistake = _misused(override, groups)
        if mistake:
            mistakes.append(mistake)
        else:
            given.append(_as_hydra_takes_it(override, groups))
    return given, mistakes


def _as_hydra_takes_it(override: Override, groups: Mapping[str, Sequence[str]]) -> str:
    """Plain values are forced in, so that an unknown key reaches pydantic, which knows the ones that are meant."""
    text, key = override.input_line or "", override.key_or_group
    if _is_choice(override, groups):
        return f'{key}@_global_="{_choice(override)}"' if key == "experiment" else f'{key}="{_choice(override)}"'
    return f"++{text}" if override.type is OverrideType.CHANGE else text


def _misused(override: Override, groups: Mapping[str, Sequence[str]]) -> str | None:
    """What is wrong with an override before its value is looked at."""
    key, written = override.key_or_group, (override.input_line or "").partition("=")[2]
    group, _, field = key.partition(".")
    if not key:
        return _unreadable(override.input_line or "")
    if group not in (*Config.model_fields, *groups):
        return f"{group}: no such setting{_hint(group, Config.model_fields)}"
    if override.package is not None:
        return f"{key}: takes no package, got @{override.package}; write {key}={written}"
    if override.is_sweep_override():
        return f"{key}: several values at once, got {written}; give one value"
    if group in groups and field == "name":
        return f"{key}: comes with the choice; write {group}={written}"
    if _is_choice(override, groups):
        choice, known = _choice(override), groups[key]
        return None if choice in known else f"{key}: no such choice, got '{choice}'{_hint(choice, known)}"
    return None


def _is_choice(override: Override, groups: Mapping[str, Sequence[str]]) -> bool:
    deletes = override.type is OverrideType.DEL
    return override.key_or_group in groups and not deletes and not isinstance(override.value(), dict)


def _choice(override: Override) -> str:
    """The choice as written: `experiment=007` is a file's name, no number."""
    value = override.value()
    return value if isinstance(value, str) else (override.input_line or "").partition("=")[2].strip()


def _unreadable(text: str) -> str:
    key, is_assigned, value = text.partition("=")
    if not is_assigned or not re.fullmatch(r"[+~]{0,2}\w+([./]\w+)*", key):
        return f"'{text}': not an override; write group=choice or section.field=value"
    example = '["…"]' if value.startswith("[") else '"…"'
    return f"{key}: cannot be read, got {value}; text with special characters needs quotes, as '{key}={example}'"


def _name(line: str) -> str:
    """The name that a mistake in an override is about."""
    return re.split(r"[^\w.]", line.lstrip("'+~"), maxsplit=1)[0]


def _compose(given: Sequence[str], config_dir: Path | None) -> dict[str, Any]:
    overrides = [*given]
    if config_dir is not None:
        folder = str(config_dir.resolve()).replace('"', r"\"")
        overrides.append(f'hydra.searchpath=["file://{folder}"]')
    try:
        with warnings.catch_warnings(), initialize_config_dir(str(conf_dir()), version_base="1.3"):
            warnings.simplefilter("ignore")
            composed = compose("config", overrides=overrides)
        values = OmegaConf.to_container(composed, resolve=True)
    except Exception as error:  # Hydra lets through what a file or an override sets off: OSError, TypeError, ValueError
        raise _errors(_what_hydra_says(error, given)) from error
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def _what_hydra_says(error: Exception, given: Iterable[str]) -> str:
    """The message without Hydra's inner names, with the place where the message does not name it."""
    text = str(error).replace(" ++", " ")
    if text.startswith("Error merging override"):
        text = f"{text}: {error.__cause__}"
    for inner in ("full_key:", "Config search path:"):
        text = text.partition(inner)[0]
    place = getattr(error, "full_key", None)
    if not isinstance(error, (HydraException, OmegaConfBaseException, yaml.YAMLError)):
        place = " ".join(given).replace("++", "")
    return f"{place}: {text}" if place else text


# ---------------------------------------------------------------- mistakes in values
def _without_missing(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_missing(value) if isinstance(value, Mapping) else value
        for key, value in values.items()
        if not (isinstance(value, str) and value == MISSING)
    }


def _hint(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, known := sorted(known), n=1)
    if close:
        return f", did you mean '{close[0]}'?"
    return f"; choices: {', '.join(known)}" if known else "; there are none"


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


def _explain(path: str, details: Sequence[ErrorDetails], values: Mapping[str, Any]) -> str:
    """One line for what is wrong at one place: the name as typed, the rule, the value."""
    detail = details[0]
    kind, context, got = detail["type"], detail.get("ctx", {}), f"got {shown(detail['input'])}"
    if kind == "extra_forbidden":
        return f"{path}: no such setting{_hint(path.rpartition('.')[2], _siblings(path, values))}"
    if kind == "missing" and isinstance(detail["loc"][-1], int):
        return f"{path.rpartition('.')[0]}: has too few entries, {got}"
    if kind == "missing":
        return f"{path}: must be given, as {path}=VALUE"
    if kind == "value_error":
        return f"{path}.{context['error']}"
    if kind == "union_tag_not_found":
        return f"{path}.name: must be given; choices: {', '.join(choices_of(path))}"
    if kind == "union_tag_invalid":
        return f"{path}.name: no such choice, got '{context['tag']}'{_hint(context['tag'], choices_of(path))}"
    if kind in NO_SECTION:
        return f"{path}: must be a group of settings, {got}"
    rules = [_rule(other["msg"]) for other in details]
    return f"{path}: {' or '.join([rules[0], *(rule.removeprefix('must be ') for rule in rules[1:])])}, {got}"


def _path(loc: tuple[int | str, ...]) -> str:
    """Dotted path of a mistake without pydantic's own marks: union tags and the types it tried."""
    section, *rest = loc
    if rest and rest[0] in choices_of(str(section)):
        rest = rest[1:]
    names = [str(part) for part in rest if isinstance(part, int) or part.isidentifier()]
    kept = [name for name in names if name not in ("int", "float", "bool", "str", "constrained", "tuple")]
    return ".".join([str(section), *kept[:2]])


def _siblings(path: str, values: Mapping[str, Any]) -> Iterable[str]:
    section, _, field = path.partition(".")
    if not field:
        return Config.model_fields
    choices = choices_of(section)
    chosen = choices.get(values[section].get("name")) or next(iter(choices.values()))
    return [name for name in chosen.model_fields if name != "name"]


def _rule(message: str) -> str:
    message = message.partition(", unable")[0]
    for pydantic_word, word in (
        ("Input should be", "must be"), ("String should", "must"), ("Tuple should", "must"),
        ("a valid integer", "a whole number"), ("a valid number", "a number"), ("a valid string", "text"),
        ("a valid boolean", "true or false"), ("a valid tuple", "a list"), (" after validation", ""),
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
    return f"'{value}'" if isinstance(value, str) else str(value)
