"""From overrides to a `Config`: Hydra composes, pydantic validates, all mistakes are reported together."""

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, overload

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from pipeline.auto import AUTO, named
from pipeline.config import Config
from pipeline.errors import ConfigError
from pipeline.mistakes import command_of, hint, mistakes_of, shown

C = TypeVar("C", bound=Config)
GLOBAL = ("experiment", "comparison")  # groups whose choices set values of the others
NAMED = ("study", "comparison", "leaderboard")  # sections whose name is a setting; of others it is the choice
MISSING = "???"  # OmegaConf's mark for a value that must be given


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


@overload
def load_config(
    overrides: Sequence[str] = (), config_dir: Path | None = None, *, root: str | None = None
) -> Config: ...
@overload
def load_config(overrides: Sequence[str], config_dir: Path | None, kind: type[C]) -> C: ...
def load_config(
    overrides: Sequence[str] = (),
    config_dir: Path | None = None,
    kind: type[Config] = Config,
    *,
    root: str | None = None,
) -> Config:
    """Compose and validate the config that `overrides` ask for.

    Args:
        overrides: Hydra's grammar: `group=choice`, `a.b=value`.
        config_dir: a folder of further config groups, searched beside the shipped ones.
        kind: what the config is of: a training run, a study, or a comparison.
        root: the file of `conf/` to start from; None: the kind's.

    Raises:
        ConfigError: with one line for every mistake found.
        DataError: model=auto, and the table cannot be read.
    """
    given, mistakes = _prepare(overrides, list_groups(config_dir), kind)
    try:
        values = _compose(given, config_dir, root or kind.root)
        config = None if _is_open(values, kind) else validate(values, kind)
    except ConfigError as error:
        consequences = tuple(f"{_name(line)}{mark}" for line in mistakes for mark in ".:")
        raise _errors(*mistakes, *(line for line in error.lines if not line.startswith(consequences))) from error
    if mistakes:
        raise _errors(*mistakes)
    return config or load_config(named(overrides, values), config_dir, kind)


def _is_open(values: Mapping[str, Any], kind: type[Config]) -> bool:
    """Whether the table is to choose the network; raises ConfigError for mistakes in the other sections first."""
    model = values.get("model")
    if not isinstance(model, Mapping) or model.get("name") != AUTO:
        return False
    try:
        validate({**values, "model": None}, kind)
    except ConfigError as error:
        if others := [line for line in error.lines if not line.startswith("model:")]:
            raise _errors(*others) from error
    return True


def compose_values(
    overrides: Sequence[str] = (), config_dir: Path | None = None, kind: type[Config] = Config
) -> dict[str, Any]:
    """The composed config as plain values, not validated yet."""
    given, mistakes = _prepare(overrides, list_groups(config_dir), kind)
    if mistakes:
        raise _errors(*mistakes)
    return _compose(given, config_dir, kind.root)


def validate(values: Mapping[str, Any], kind: type[Config] = Config) -> Config:
    """A config of plain values; raises ConfigError with one line for every mistake."""
    try:
        return kind.model_validate(_without_missing(values))
    except ValidationError as error:
        raise _errors(*mistakes_of(error, values, kind)) from error


def to_yaml(config: Config) -> str:
    """The config as YAML, in the order of its sections."""
    return str(yaml.dump(config.model_dump(mode="json"), Dumper=_Dumper, sort_keys=False, allow_unicode=True))


def overrides_of_file(file: Path, others: Sequence[str]) -> list[str]:
    """A whole config, as `pipeline config` prints it, as overrides; what `others` choose anew is left to them.

    Raises:
        ConfigError: no such file, or no config in it.
    """
    try:
        values = yaml.safe_load(file.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise _errors(f"--config: {file} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise _errors(f"--config: {file} holds no config; write one with `pipeline config > {file}`")
    return overrides_of_values(values, others)


def overrides_of_values(values: Mapping[str, Any], others: Sequence[str]) -> list[str]:
    """The values of a whole config as overrides; what `others` choose anew is left to them."""
    groups = list_groups()
    chosen = {text.partition("=")[0] for text in others}
    kept = {group: value for group, value in values.items() if group not in chosen}
    named = {group: dict(value).pop("name", None) for group, value in kept.items() if isinstance(value, dict)}
    choices = [f"{group}={name}" for group, name in named.items() if name in groups.get(group, ())]
    settings = {path: value for path, value in flatten(kept).items() if not path.endswith(".name")}
    return [*choices, *(f"{path}={shown(value)}" for path, value in settings.items())]


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    """Nested values by dotted path."""
    flat: dict[str, object] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


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
def _prepare(
    overrides: Iterable[str], groups: Mapping[str, Sequence[str]], kind: type[Config]
) -> tuple[list[str], list[str]]:
    """Overrides as Hydra takes them, and the mistakes in those that it is not given."""
    parser, given, mistakes = OverridesParser.create(), [], []
    for text in overrides:
        try:
            override = parser.parse_override(text)
        except HydraException:
            mistakes.append(_unreadable(text))
            continue
        mistake = _misused(override, groups, kind)
        if mistake:
            mistakes.append(mistake)
        else:
            given.append(_as_hydra_takes_it(override, groups))
    return given, mistakes


def _as_hydra_takes_it(override: Override, groups: Mapping[str, Sequence[str]]) -> str:
    """Plain values are forced in, so that an unknown key reaches pydantic, which knows the ones that are meant."""
    text, key = override.input_line or "", override.key_or_group
    if _is_choice(override, groups):
        return f'{key}@_global_="{_choice(override)}"' if key in GLOBAL else f'{key}="{_choice(override)}"'
    return f"++{text}" if override.type is OverrideType.CHANGE else text


def _misused(override: Override, groups: Mapping[str, Sequence[str]], kind: type[Config]) -> str | None:
    """What is wrong with an override before its value is looked at."""
    key, written = override.key_or_group, (override.input_line or "").partition("=")[2]
    group, _, field = key.partition(".")
    if not key:
        return _unreadable(override.input_line or "")
    if group not in (*kind.model_fields, "experiment"):
        command = command_of(group)
        other = f"; it belongs to `pipeline {command}`" if command else hint(group, kind.model_fields)
        return f"{group}: no such setting{other}"
    if override.package is not None:
        return f"{key}: takes no package, got @{override.package}; write {key}={written}"
    if override.is_sweep_override() and group == "vary":
        return f"{key}: must be a list, got {written}; write {key}=[{written}]"
    if override.is_sweep_override():
        return f"{key}: several values at once, got {written}; give one value"
    if group in groups and field == "name" and group not in NAMED:
        return f"{key}: comes with the choice; write {group}={written}"
    if _is_choice(override, groups):
        choice, known = _choice(override), groups[key]
        return None if choice in known else f"{key}: no such choice, got '{choice}'{hint(choice, known)}"
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


def _compose(given: Sequence[str], config_dir: Path | None, root: str) -> dict[str, Any]:
    """The composed values; each set of choices is composed once, which takes ten times as long as setting values."""
    choices = tuple(text for text in given if not text.startswith("++"))
    try:
        composed = deepcopy(_composed(choices, config_dir, root))
        for text in given:
            if text.startswith("++"):
                _set(composed, text)
        values = OmegaConf.to_container(composed, resolve=True)
    except Exception as error:  # Hydra lets through what a file or an override sets off: OSError, TypeError, ValueError
        raise _errors(_what_hydra_says(error, given)) from error
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


@cache
def _composed(choices: tuple[str, ...], config_dir: Path | None, root: str) -> DictConfig:
    overrides = [*choices]
    if config_dir is not None:
        folder = str(config_dir.resolve()).replace('"', r"\"")
        overrides.append(f'hydra.searchpath=["file://{folder}"]')
    with warnings.catch_warnings(), initialize_config_dir(str(conf_dir()), version_base="1.3"):
        warnings.simplefilter("ignore")
        return compose(root, overrides=overrides)


def _set(composed: DictConfig, text: str) -> None:
    """Set one value, as Hydra does for ++key=value; below `vary`, and of its cases, a dotted path is one key."""
    override = OverridesParser.create().parse_override(text)
    section, _, path = override.key_or_group.partition(".")
    place = override.key_or_group
    if section == "vary" and path:
        label = path.removeprefix("cases.")
        place = f"vary[{path}]" if label == path else f"vary.cases[{label}]"
    try:
        OmegaConf.update(composed, place, override.value(), merge=True, force_add=True)
    except OmegaConfBaseException as error:
        raise HydraException(f"Error merging override {text}") from error


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


def _without_missing(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_missing(value) if isinstance(value, Mapping) else value
        for key, value in values.items()
        if not (isinstance(value, str) and value == MISSING)
    }
