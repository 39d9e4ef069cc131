"""Marks for tests of what is not installed everywhere."""

import importlib.util

import pytest

needs_unifrac = pytest.mark.skipif(
    importlib.util.find_spec("unifrac") is None,
    reason="the library unifrac, which comes with QIIME 2, is not installed",
)
