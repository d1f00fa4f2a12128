"""A finding of the doctor, in a line and as an artifact."""

from pipeline.doctor.finding import Finding, from_json, to_json

DEAD = Finding("dead_units", "units are 0", "33 % are dead", "10 % or more", "Maas 2013", ("a=1", "b=2"))
ODD = Finding("odd", "it is odd", "3", "2", "„Source“")


def test_a_finding_is_a_line_with_what_may_cure_it() -> None:
    assert DEAD.line == "units are 0: 33 % are dead (10 % or more; Maas 2013); try a=1 b=2"
    assert ODD.line == "it is odd: 3 (2; „Source“)"


def test_findings_are_read_back_as_they_were_kept() -> None:
    assert from_json(to_json([DEAD, ODD])) == [DEAD, ODD]
    assert from_json(to_json([])) == []
