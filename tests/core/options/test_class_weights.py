import pytest

from q2_aam.core.options.class_weights import parse, render
from q2_aam.core.options.config import ClassificationConfig
from q2_aam.core.options.option import OptionError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("none", {}),
        ("balanced", None),
        ("gut:2,skin:0.5", {"gut": 2.0, "skin": 0.5}),
        (" gut : 2 , a:b:1e1", {"gut": 2.0, "a:b": 10.0}),
        ('{"gut, left": 2, "b:c": 1}', {"gut, left": 2.0, "b:c": 1.0}),
    ],
)
def test_parse(text, expected):
    assert parse(text) == expected
    if expected is not None:
        assert parse(render(expected)) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a weight for each class such as 'gut:2,skin:0.5'; found ''"),
        ("gut", "found 'gut'"),
        (":2", "found ':2'"),
        ("gut:two", "found 'gut:two'"),
        ("gut:1,gut:2", "names a class twice"),
        ("gut:0", "above 0, found 0 for 'gut'"),
        ("gut:inf", "must be finite"),
        ('{"gut": "x"}', "not a JSON object of numbers"),
        ('{"gut"', "not a JSON object of numbers"),
        ('{"gut": true}', "not a JSON object of numbers"),
        ('{"gut":' * 5000, "not a JSON object of numbers"),
    ],
)
def test_what_is_wrong_is_said(text, said):
    with pytest.raises(ValueError, match=said):
        parse(text)
    with pytest.raises(OptionError, match=said):
        ClassificationConfig(class_weights=text)
