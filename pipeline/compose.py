"""From overrides to a `Config`: Hydra composes, pydantic validates, all mistakes are reported together."""

import difflib
import warnings
from collections.abc import Iterable, Mapping, Sequence
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
NUMBER_TYPES = ("float_type", "int_type", "bool_type")


def conf_dir() -> Path:
    """The folder of shipped config groups: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"


def list_groups(config_dir: Path | None = None) -> dict[str, list[str]]:
    """Choices of every config group, shipped and in `config_dir`; names beginning with _ are for inheritance."""
    groups: dict[str, set[str]] = {}
    for root in filter(None, (conf_dir(), config_dir)):
        for file in sorted(root.glob("*/*.yaml")):
            if not file.name.startswith("_"):
                groups.setdefault(file.parent.name, set()).add(file.stem)
    return {group: sorted(choices) for group, choices in sorted(groups.items())}


def load_config(overrides: Sequence[str] = (), config_dir: Path | None = None) -> Config:
    """Compose and validate the config that `overrides` ask for.

    Args:
        overrides: Hydra's grammar: `group=choice`, `a.b=value`.
        config_dir: a folder of further config groups, searched beside the shipped ones.

    Raises:
        ConfigError: with one line for every mistake found.
    """
    return validate(compose_values(overrides, config_dir))


def compose_values(overrides: Sequence[str] = (), config_dir: Path | None = None) -> dict[str, Any]:
    """The composed config as plain values, not validated yet."""
    if config_dir is not None and not config_dir.is_dir():
        raise ConfigError(f"--config-dir: no such folder, got '{config_dir}'")
    groups = list_groups(config_dir)
    given = _prepare(_parse(overrides), groups)
    if config_dir is not None:
        given.append(f"hydra.searchpath=[file://{config_dir.resolve()}]")
    try:
        with warnings.catch_warnings(), initialize_config_dir(str(conf_dir()), version_base="1.3"):
            warnings.simplefilter("ignore")
            composed = compose("config", overrides=given)
        values = OmegaConf.to_container(composed, resolve=True)
    except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
        raise ConfigError(" ".join(str(error).split())) from error
    assert isinstance(values, dict)
    values.pop("experiment", None)  # its values are merged already
    return {str(key): value for key, value in values.items()}


def validate(values: Mapping[str, Any]) -> Config:
    """A `Config` of plain values; raises ConfigError with one line for every mistake."""
    try:
        return Config.model_validate(_without_missing(values))
    except ValidationError as error:
        details = _of_the_branch_meant(error.errors())
        raise ConfigError(*dict.fromkeys(_explain(detail, values) for detail in details)) from error


def to_yaml(config: Config) -> str:
    """The config as YAML, in the order of its sections."""
    return str(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True))


def _parse(overrides: Sequence[str]) -> list[Override]:
    parser, parsed, mistakes = OverridesParser.create(), [], []
    for text in overrides:
        try:
            parsed.append(parser.parse_override(text))
        except HydraException:
            mistakes.append(f"'{text}': not an override; write group=choice or section.field=value")
    if mistakes:
        raise ConfigError(*mistakes)
    return parsed


def _prepare(overrides: Iterable[Override], groups: Mapping[str, Sequence[str]]) -> list[str]:
    """Overrides as Hydra takes them: plain values forced in, so that an unknown key reaches pydantic."""
    given, mistakes = [], []
    for override in overrides:
        text, key, value = override.input_line or "", override.key_or_group, override.value()
        if override.is_sweep_override():
            mistakes.append(f"{key}: several values at once, got {text.partition('=')[2]}; give one value")
        elif key in groups and override.type is not OverrideType.DEL and not isinstance(value, dict):
            if value not in groups[key]:
                mistakes.append(f"{key}: no such choice, got '{value}'{_hint(str(value), groups[key])}")
            given.append(f"{key}={value}")
        else:
            given.append(f"++{text}" if override.type is OverrideType.CHANGE else text)
    if mistakes:
        raise ConfigError(*mistakes)
    return given


def _without_missing(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_missing(value) if isinstance(value, Mapping) else value
        for key, value in values.items()
        if not (isinstance(value, str) and value == MISSING)
    }


def _hint(name: str, known: Iterable[str]) -> str:
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    return f", did you mean '{close[0]}'?" if close else f"; choices: {', '.join(known)}"


def _of_the_branch_meant(details: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """Where a field takes one value or a list, leave out what was said of the form that was not written."""

    def beside_the_point(detail: ErrorDetails) -> bool:
        field = detail["loc"][:3]
        others = [other for other in details if other["loc"][:2] == field[:2] and other is not detail]
        listed = isinstance(detail["input"], list) and detail["type"] in (
            "literal_error",
            "string_type",
            *NUMBER_TYPES,
        )
        return bool(others) and (detail["type"] in ("tuple_type", "none_required") or listed)

    return [detail for detail in details if not beside_the_point(detail)]


def _explain(detail: ErrorDetails, values: Mapping[str, Any]) -> str:
    """One line for one mistake: the name as typed, the rule, the value."""
    path = _path(detail["loc"])
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return f"{path}: no such setting{_hint(path.rpartition('.')[2], _siblings(path, values))}"
    if kind == "missing" and path[-1].isdigit():
        return f"{path.rpartition('.')[0]}: has too few entries, got {shown(detail['input'])}"
    if kind == "missing":
        return f"{path}: must be given, as {path}=VALUE"
    if kind == "value_error":
        return f"{path}: {context['error']}"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return f"{path}.name: no such choice{_hint(str(context.get('tag', '')), choices_of(path))}"
    return f"{path}: {_rule(detail['msg'])}, got {shown(detail['input'])}"


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
    name = values[section].get("name", section)
    return choices_of(section)[name].model_fields


def _rule(message: str) -> str:
    for pydantic_word, word in (
        ("Input should be", "must be"), ("String should", "must"), ("Tuple should", "must"),
        ("a valid tuple", "a list"), (" after validation", ""),
    ):  # fmt: skip
        message = message.replace(pydantic_word, word)
    return message


def shown(value: object) -> str:
    """A value as it is typed in an override."""
    words = {None: "null", True: "true", False: "false"}
    if isinstance(value, bool | None):
        return words[value]
    return f"'{value}'" if isinstance(value, str) else str(value)
