"""Which quantiles can be asked for."""

import pytest

from q2_aam.core.options import quantile_levels
from q2_aam.core.options.config import RegressionConfig
from q2_aam.core.options.option import OptionError

LEVELS = (0.05, 0.25, 0.5, 0.95)


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        ("0.05,0.5,0.95", (0.05, 0.5, 0.95)),
        (" 0.1, .25 ,0.5,0.9 ", (0.1, 0.25, 0.5, 0.9)),
        ("1e-3,0.5,0.999", (0.001, 0.5, 0.999)),
    ],
)
def test_parse(text, levels):
    assert quantile_levels.parse(text) == levels


@pytest.mark.parametrize(
    "text",
    [
        "", "0.5", "0.05,0.95", "0.05,0.5", "0.5,0.95", "0.95,0.5,0.05", "0.05,0.5,0.5,0.95",
        "0,0.5,0.95", "0.05,0.5,1", "nan,0.5,0.95", "5%,50%,95%", "0.05;0.5;0.95", "0.05,0.5,",
        ",".join(str(i / 60) for i in range(1, 60)), f"0.05,0.5,0.95{' ' * 2000}",
    ],
)  # fmt: skip
def test_parse_refuses(text):
    with pytest.raises(ValueError, match=r"quantiles must be 3 to 25 .* such as '0.05,0.5,0.95'"):
        quantile_levels.parse(text)


def test_names_and_back():
    assert quantile_levels.names((0.05, 0.5, 0.95))[0] == "quantile-0.05"
    assert quantile_levels.levels_of(quantile_levels.names(LEVELS)) == LEVELS
    with pytest.raises(ValueError, match="could not convert"):
        quantile_levels.levels_of(["age", "quantile-0.5"])


def test_options_refuse_quantiles_that_are_none():
    with pytest.raises(OptionError, match=r"quantiles must be .*; found '0.1,0.9'"):
        RegressionConfig(loss_type="quantile", quantiles="0.1,0.9")


def test_options_refuse_quantiles_that_would_not_be_learnt():
    with pytest.raises(OptionError, match="not learnt by loss_type huber: choose loss_type quant"):
        RegressionConfig(quantiles="0.1,0.5,0.9")
    assert RegressionConfig().levels == ()
