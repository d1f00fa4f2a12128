"""What can be configured, as text: groups and choices; the fields of a group with range, unit and default."""

import textwrap
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from pipeline.compose import MISSING, compose_values, list_groups, shown
from pipeline.config import Config, Section, choices_of
from pipeline.errors import ConfigError

WIDTH = 100


def describe_groups(config_dir: Path | None = None) -> str:
    """A line a group: its choices, the default marked with *."""
    default = compose_values()
    lines = [
        "group=choice picks one of these (* is the default); `pipeline options GROUP` lists its fields",
        "",
    ]
    for group, choices in list_groups(config_dir).items():
        chosen = default[group].get("name") if group in default else None
        lines.append(f"{group:<12} {'  '.join(choice + '*' * (choice == chosen) for choice in choices)}")
    seed = Config.model_fields["seed"]
    return "\n".join([*lines, "", f"seed={default['seed']}       {seed.description} ({_range(seed)})"])


def describe_group(group: str, config_dir: Path | None = None) -> str:
    """Every choice of a group: what it is, and each field with default, range or choices, and meaning.

    Raises:
        ConfigError: there is no such group.
    """
    groups = list_groups(config_dir)
    if group not in groups:
        raise ConfigError(f"options: no such group, got '{group}'; groups: {', '.join(groups)}")
    return "\n\n".join(_describe(group, choice, config_dir) for choice in groups[group])


def _describe(group: str, choice: str, config_dir: Path | None) -> str:
    values = compose_values([f"{group}={choice}"], config_dir)
    if group not in Config.model_fields:
        return f"{group}={choice}"
    sections, section = choices_of(group), values[group]
    kind = sections.get(section.get("name", group))
    assert kind is not None, f"conf/{group}/{choice}.yaml names no known section"
    lines = [f"{group}={choice}", *_wrap(kind.__doc__ or "", "  ")]
    for name, field in kind.model_fields.items():
        if name != "name":
            lines.append(f"  {group}.{name}={_shown(section.get(name, MISSING))}   ({_range(field)})")
            lines += _wrap(field.description or "", "      ")
    return "\n".join(lines)


def _wrap(text: str, indent: str) -> list[str]:
    paragraph = " ".join(text.split())
    return textwrap.wrap(paragraph, WIDTH, initial_indent=indent, subsequent_indent=indent)


def _shown(value: object) -> str:
    """A value as it is typed in an override; … where one must be given."""
    if value == MISSING:
        return "…"
    if isinstance(value, list):
        return f"[{','.join(map(_shown, value))}]"
    if isinstance(value, float) and 0 < abs(value) < 1e-2:
        return f"{value:.0e}".replace("e-0", "e-")
    return shown(value).strip("'")


def _range(field: FieldInfo) -> str:
    """Type and bounds in a few words."""
    return f"{_kind(field.annotation)}{_bounds(field.metadata)}"


def _bounds(metadata: list[Any]) -> str:
    signs = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
    bounds = [
        f"{sign} {getattr(entry, bound):g}"
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
        return " | ".join(_kind(argument) for argument in arguments)
    if origin is tuple:
        return f"list of {_kind(arguments[0])}"
    if annotation is type(None):
        return "null"
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation.__name__
    return {int: "whole number", float: "number", str: "text", bool: "true | false"}.get(annotation, str(annotation))
