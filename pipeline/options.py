"""What can be configured, as text: groups and choices; the fields of a group with range, unit and default."""

import re
import textwrap
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import yaml
from pydantic.fields import FieldInfo

from pipeline.auto import AUTO
from pipeline.comparison_config import ComparisonConfig
from pipeline.compose import GLOBAL, MISSING, NAMED, compose_values, conf_dir, list_groups
from pipeline.config import Config, choices_of
from pipeline.errors import ConfigError
from pipeline.leaderboard_config import LeaderboardConfig
from pipeline.mistakes import AnyConfig, shown
from pipeline.sections import Section

WIDTH = 100
APART: dict[str, type[Config]] = {"comparison": ComparisonConfig, "leaderboard": LeaderboardConfig}  # made by no choice


def describe_groups(config_dir: Path | None = None) -> str:
    """A line a group: its choices, the default marked with *."""
    shipped = [yaml.safe_load((conf_dir() / f"{root}.yaml").read_text()) for root in ("_base", "train", "study")]
    defaults = [entry for file in shipped for entry in file["defaults"] if isinstance(entry, dict)]
    lines = [
        "group=choice picks one of these (* is the default); `pipeline options GROUP` lists its fields",
        "",
    ]
    for group, choices in _groups(config_dir).items():
        marked = [choice + "*" * ({group: choice} in defaults) for choice in choices]
        lines.append(f"{group:<12} {'  '.join(marked) or 'fields only'}")
    lines.append("")
    for name in ("seed", "baselines"):  # which belong to no group
        lines += _entry("", name, shipped[0], Config.model_fields[name])
    return "\n".join(lines)


def _groups(config_dir: Path | None) -> dict[str, list[str]]:
    """The choices of each group; of a command's own section there need be none."""
    groups = list_groups(config_dir)
    return {group: groups.get(group, []) for group in sorted({*groups, *APART})}


def describe_group(group: str, config_dir: Path | None = None) -> str:
    """Every choice of a group: what it is, and each field with default, range or choices, and meaning.

    Raises:
        ConfigError: there is no such group, or a file in `config_dir` is no choice of it.
    """
    groups = _groups(config_dir)
    if group not in groups:
        raise ConfigError(f"options: no such group, got '{group}'; groups: {', '.join(groups)}")
    apart = [_describe_apart(group, APART[group], config_dir)] if group in APART else []
    return "\n\n".join([*apart, *(_describe(group, choice, config_dir) for choice in groups[group])])


def _describe_apart(group: str, kind: type[Config], config_dir: Path | None) -> str:
    values = compose_values((), config_dir, kind)
    beside = [name for name in kind.model_fields if name not in Config.model_fields and name != group]
    lines = [line for name in beside for line in _entry("  ", name, values, kind.model_fields[name])]
    return "\n".join([group, *_fields(group, choices_of(group, kind)[group], values[group]), *lines])


def _describe(group: str, choice: str, config_dir: Path | None) -> str:
    if group in GLOBAL or (group, choice) == ("model", AUTO):  # no fields of its own
        text = _file(group, choice, config_dir).read_text().rstrip()
        return "\n".join([f"{group}={choice}", textwrap.indent(text, "  ")])
    sections = choices_of(group, AnyConfig)
    section = compose_values([f"{group}={choice}"], config_dir, AnyConfig).get(group)
    kind = sections.get(group) or sections.get(str(section.get("name"))) if isinstance(section, dict) else None
    if kind is None or not isinstance(section, dict):
        file = _file(group, choice, config_dir)
        raise ConfigError(f"{file}: must be settings of a known section, by name: {', '.join(sections)}")
    return "\n".join([f"{group}={choice}", *_fields(group, kind, section)])


def _fields(group: str, kind: type[Section], section: Mapping[str, Any]) -> list[str]:
    """What a section is, and each of its fields."""
    lines = _wrap(kind.__doc__ or "", "  ")
    for name, field in kind.model_fields.items():
        if name != "name" or group in NAMED:
            lines += _entry(f"  {group}.", name, section, field)
    return lines


def _entry(before: str, name: str, values: Mapping[str, Any], field: FieldInfo) -> list[str]:
    """A field with its default and range, and what it means, a step further in than `before` begins."""
    indent = " " * (4 + len(before) - len(before.lstrip()))
    entry = f"{before}{name}={_shown(values.get(name, MISSING))}   ({_range(field)})"
    return [entry, *_wrap(field.description or "", indent)]


def _file(group: str, choice: str, config_dir: Path | None) -> Path:
    shipped = conf_dir() / group / f"{choice}.yaml"
    return shipped if config_dir is None or shipped.exists() else config_dir / group / f"{choice}.yaml"


def _wrap(text: str, indent: str) -> list[str]:
    paragraph = " ".join(text.split())
    return textwrap.wrap(paragraph, WIDTH, initial_indent=indent, subsequent_indent=indent)


def _shown(value: object) -> str:
    """A value as it is typed in an override; … where one must be given."""
    if value == MISSING:
        return "…"
    if isinstance(value, list):
        return f"[{','.join(map(_shown, value))}]"
    return value if isinstance(value, str) and re.fullmatch(r"[\w./-]+", value) else shown(value)


def _range(field: FieldInfo) -> str:
    """Type and bounds in a few words."""
    return f"{_kind(field.annotation)}{_bounds(field.metadata)}"


def _bounds(metadata: list[Any]) -> str:
    signs = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
    bounds = [
        f"{sign} {getattr(entry, bound)}"
        for entry in _constraints(metadata)
        for bound, sign in signs.items()
        if getattr(entry, bound, None) is not None
    ]
    return f" {', '.join(bounds)}" if bounds else ""


def _constraints(metadata: list[Any]) -> list[Any]:
    """The bounds of a field's own Field(…) and of those it is annotated with."""
    return [inner for entry in metadata for inner in (entry.metadata if isinstance(entry, FieldInfo) else [entry])]


def _kind(annotation: Any) -> str:  # any type a field may have
    origin, arguments = get_origin(annotation), get_args(annotation)
    if hasattr(annotation, "__metadata__"):
        return f"{_kind(annotation.__origin__)}{_bounds(list(annotation.__metadata__))}"
    if origin is Literal:
        return " | ".join(map(str, arguments))
    if origin in (Union, UnionType):
        kinds = [_kind(argument) for argument in arguments]
        return " | ".join("list of these" if kind == f"list of {kinds[0]}" else kind for kind in kinds)
    if origin is tuple:
        return f"list of {'' if Ellipsis in arguments else f'{len(arguments)} × '}{_kind(arguments[0])}"
    if origin is dict:
        return "names with a value each"
    if annotation is type(None):
        return "null"
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation.__name__
    return {int: "whole number", float: "number", str: "text", bool: "true | false"}.get(annotation, str(annotation))
