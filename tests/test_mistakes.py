"""The words for mistakes: values as they are typed, names that may have been meant, rules."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from pipeline.mistakes import hint, rule, shown

SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False))


@given(value=st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3), max_leaves=6))
def test_a_value_is_shown_as_it_can_be_typed(value: object) -> None:
    typed = OmegaConf.to_container(OmegaConf.create(f"x: {shown(value)}"))
    assert typed == {"x": value}


@given(value=st.text(st.sampled_from("a'\"\\ ,:={}[]$é\n"), max_size=8))
def test_text_is_shown_as_hydra_reads_it(value: str) -> None:
    assert OverridesParser.create().parse_override(f"x={shown(value)}").value() == value


@pytest.mark.parametrize(
    ("name", "known", "said"),
    [
        ("optimzer", ["optimizer", "scheduler"], ", did you mean 'optimizer'?"),
        ("xyz", ["b", "a"], "; choices: a, b"),
        ("xyz", [], "; there are none"),
    ],
)
def test_an_unknown_name_is_answered_by_the_nearest_or_by_all(name: str, known: list[str], said: str) -> None:
    assert hint(name, known) == said


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("Input should be a valid integer, unable to parse string as an integer", "must be a whole number"),
        ("Input should be greater than 0", "must be greater than 0"),
        ("Tuple should have at least 1 item after validation, not 0", "must have at least 1 item, not 0"),
    ],
)
def test_a_rule_is_said_in_words_of_the_field(message: str, words: str) -> None:
    assert rule(message) == words
