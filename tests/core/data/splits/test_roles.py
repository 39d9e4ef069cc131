import pytest

from q2_aam.core.data.splits import roles
from q2_aam.core.data.splits.roles import NO_GROUP, NO_METADATA, NO_VALUE, left_out, roles_table


def test_left_out_gives_the_first_reason():
    stages = {NO_METADATA: "abcx", NO_VALUE: "abd", NO_GROUP: "a"}
    found = left_out("dabc", stages)
    assert found == {"d": NO_METADATA, "c": NO_VALUE, "b": NO_GROUP}


def test_left_out_of_nothing():
    assert left_out("ab", {NO_VALUE: "ba"}) == {}


def test_roles_table_keeps_the_order():
    table = roles_table("ca", "b", {"e": NO_VALUE, "d": NO_GROUP})
    assert list(table.index) == list("cabed")
    assert list(table["role"]) == ["training"] * 2 + ["validation"] + ["left out"] * 2
    assert list(table["reason"]) == ["", "", "", NO_VALUE, NO_GROUP]


def test_roles_table_refuses_two_roles():
    with pytest.raises(ValueError, match="Sample 'a' has more than one role"):
        roles_table("ab", "ca", {})


@pytest.mark.parametrize("name", ["", "a\tb", "a\nb", "\x7f", "\ud800", "ü" * 1001])
def test_ids_that_cannot_be_kept_are_refused(name):
    with pytest.raises(ValueError, match=r"1 sample ids cannot .* or keep no sample ids .*--p-no"):
        roles_table(["a", name], [], {})


def test_more_ids_than_a_model_keeps_are_refused(monkeypatch):
    monkeypatch.setattr(roles, "MAX_SAMPLES", 3)
    roles_table("abc", "", {})
    with pytest.raises(ValueError, match="can keep 3 sample ids, and there are 4"):
        roles_table("abc", "d", {})
