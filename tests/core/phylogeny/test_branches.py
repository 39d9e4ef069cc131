"""Phylogenies as users have them, and files that are none."""

import hashlib
import logging
import re

import numpy as np
import pytest

from q2_aam.core.phylogeny.branches import (
    BranchTable,
    another_tip,
    missing_features,
    pruned_newick,
)
from q2_aam.core.phylogeny.newick import read_newick


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "tree.nwk"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def diversities(branches):
    """Return the length from each feature to the root."""
    return dict(zip(branches.feature_ids, branches.above @ branches.lengths, strict=True))


@pytest.mark.parametrize("prune", [True, False])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("((a:1,b:2):3,c:4);", {"a": 4, "b": 5, "c": 4}, id="plain"),
        pytest.param("((a:1,b:2):3,c:4)root:9;", {"a": 4, "c": 4}, id="root-with-length"),
        pytest.param("((a:1,b:2):3,c:4)root:9;", {"a": 4, "b": 5}, id="root-length-one-side"),
        pytest.param("((a:1,b:2):3,c:4)'the root';", {"a": 4, "c": 4}, id="root-with-name"),
        pytest.param("(a:1,b:2,c:3,d:4,e:5);", {"b": 2, "e": 5}, id="multifurcation"),
        pytest.param("((((a:1):1):1,b:2):3);", {"a": 6, "b": 5}, id="unary-nodes"),
        pytest.param("((a:0,b:0):0,c:1);", {"a": 0, "b": 0, "c": 1}, id="zero-lengths"),
        pytest.param("((a:1,b:2):3,(x:1,y:1):4);", {"a": 4}, id="one-feature"),
        pytest.param("((a:1,b:2):3,(x:1,a:1):4);", {"b": 5}, id="other-tip-twice"),
        pytest.param("((b:1,x:2)a:3,a:4);", {"a": 4, "b": 4}, id="fork-called-as-a-tip"),
        pytest.param("(('a:b':1,'c,(d)':2):3,e:4);", {"a:b": 4, "c,(d)": 5}, id="quoted"),
        pytest.param("('it''s':1,\"it's\":2);", {"it's": None}, id="quoted-quote"),
        pytest.param('(\'a"b\':1,"c;d":2);', {'a"b': 1, "c;d": 2}, id="double-quotes"),
        pytest.param("(a%20b:1,c%3Ad:2);", {"a b": 1, "c:d": 2}, id="percent-encoded"),
        pytest.param("(a%20b:1,c:2);", {"a%20b": 1}, id="percent-in-the-id"),
        pytest.param("[one:1,](a[x:1]:1[&&y],b:2)[(z)];", {"a": 1, "b": 2}, id="comments"),
        pytest.param("([it's](a:1,b:2):1,c:2);", {"a": 2}, id="quote-in-a-comment"),
        pytest.param("('a[1]':1,b:2);", {"a[1]": 1}, id="bracket-in-a-name"),
        pytest.param("( ( a:1 ,\n b: 2 ) :3,\tc:4 ) ;\n\n", {"a": 4, "b": 5}, id="whitespace"),
        pytest.param("\ufeff(a:1e-1,é:+2.5E0);", {"a": 0.1, "é": 2.5}, id="number-formats"),
        pytest.param("((a:1,b:2)0.98:3,c:4);", {"a": 4}, id="support-values"),
        pytest.param("((a:1,:2):3,c:4);", {"a": 4}, id="tip-without-a-name"),
    ],
)
def test_from_newick_reads(write, text, expected, prune):
    path = write(text)
    if None in expected.values():
        with pytest.raises(ValueError, match=r"1 features occur at several tips .* \"?'it's'"):
            BranchTable.from_newick(path, list(expected), prune=prune)
        return
    branches = BranchTable.from_newick(path, list(expected), prune=prune)
    assert diversities(branches) == pytest.approx(expected)
    assert (branches.lengths >= 0).all()


def test_from_newick_prunes_to_the_features_and_joins_what_has_no_fork(write):
    path = write("((((a:1):1,x:2):3,(b:4,y:5):6):7,z:8);")
    assert BranchTable.from_newick(path, ["a", "b"], prune=False).above.shape == (2, 9)
    pruned = BranchTable.from_newick(path, ["a", "b"])
    assert pruned.above.shape == (2, 3)
    assert sorted(pruned.lengths) == [5, 7, 10]


def test_from_newick_keeps_the_order_of_the_features(write):
    branches = BranchTable.from_newick(write("((a:1,b:2):3,c:40);"), ["c", "a", "b"])
    assert branches.feature_ids == ("c", "a", "b")
    assert list(branches.above @ branches.lengths) == [40, 4, 5]


def test_from_newick_takes_a_tip_for_one_feature_only(write):
    with pytest.raises(ValueError, match=r"1 of 2 features .* such as 'a b'"):
        BranchTable.from_newick(write("(a%20b:1,c:2);"), ["a b", "a%20b"])


@pytest.mark.parametrize(
    ("text", "match"),
    [
        pytest.param("(a:1,b);", r"lacks the lengths of 1 of its 2 branches", id="missing"),
        pytest.param(
            "((a:1,b:2),c:3)r:7;", r"lacks the lengths of 1 of its 4", id="missing-root-has-one"
        ),
        pytest.param("(a,b)r;", r"lacks the lengths of 2 of its 2", id="none"),
        pytest.param("(a[x:1],b:2);", r"lacks the lengths of 1 of", id="only-in-a-comment"),
        pytest.param("('a:1',b:2);", r"lacks the lengths of 1 of", id="only-in-quotes"),
        pytest.param('("a:1",b:2);', r"lacks the lengths of 1 of", id="only-in-double-quotes"),
        pytest.param("(a:1,,b:2);", r"lacks the lengths of 1 of its 3", id="nothing-between"),
        pytest.param("(a:-1,b:2);", r"1 branches .* negative .* '-1' above 'a'", id="negative"),
        pytest.param("(a:1,(b:1,c:1):-2);", r"'-2' above an unnamed node", id="negative-fork"),
        pytest.param("('a b':-1,b:2);", r"'-1' above 'a b'", id="negative-quoted"),
        pytest.param("(a:nan,b:2);", r"lacks the lengths of 1 of its 2", id="nan"),
        pytest.param("(a:1,b:inf);", r"'inf' above 'b'", id="infinite"),
        pytest.param("(a:1,b:x);", r"'x' above 'b'", id="no-number"),
        pytest.param("(a:1,b:);", r"lacks the lengths of 1 of its 2", id="after-the-colon"),
        pytest.param("(a:1,b:2)r:x;", r"'x' above 'r'", id="root-no-number"),
    ],
)
def test_from_newick_refuses_lengths(write, text, match):
    with pytest.raises(ValueError, match=match):
        BranchTable.from_newick(write(text), ["a", "b"])


@pytest.mark.parametrize(
    ("text", "match"),
    [
        pytest.param("", r"Newick format: it is empty", id="empty"),
        pytest.param(" \n\t\n", r"it is empty", id="blank"),
        pytest.param("(a:1,b:2)", r"does not end with a semicolon", id="no-semicolon"),
        pytest.param("(a:1,b:2);x", r"does not end with a semicolon", id="text-after-it"),
        pytest.param(">a\nACGT\n", r"does not end with a semicolon", id="fasta"),
        pytest.param("(a:1,b:2);\n(c:1,d:2);", r"it holds 2 trees", id="two-trees"),
        pytest.param("((a:1,b:2);", r"2 opening and 1 closing parentheses", id="open"),
        pytest.param("(a:1,b:2));", r"1 opening and 2 closing parentheses", id="closed"),
        pytest.param(")a:1,b:2(;", r"parentheses do not match", id="reversed"),
        pytest.param("(a:1,b:2),c:3;", r"so no root", id="no-root"),
        pytest.param("(a:1)(b:2);", r"opening parenthesis does not follow", id="no-comma"),
        pytest.param("(x(a:1,b:2):1,c:1);", r"opening parenthesis does not", id="name-before"),
        pytest.param("(a:1:1,b:2);", r"two colons .* near '\(a:1:1,b", id="two-colons"),
        pytest.param("(a's:1,b:2);", r"the ' near '\(a's:1,b", id="apostrophe"),
        pytest.param("('a:1,b:2);", r"the ' near .* has no partner", id="quote-open"),
        pytest.param("(\"a:1,'b':2);", r"the \" near .* has no partner", id="double-open"),
        pytest.param("(a:1[x,b:2);", r"the \[ near .* has no partner", id="comment-open"),
        pytest.param("(a:1x],b:2);", r"the \] near .* has no partner", id="comment-closed"),
        pytest.param("(a\x00:1,b:2);", r"the control character 0x0 at byte 2", id="null"),
        pytest.param(b"(\xff\xfe:1,b:2);", r"not text in UTF-8 \(byte 1 is 0xff\)", id="latin"),
        pytest.param("tip;", r"has 1 tip; .* two tips or more", id="no-fork"),
        pytest.param("(tip:1);", r"has 1 tip", id="one-tip"),
        pytest.param("(((tip:1):1)x:1)r:1;", r"has 1 tip", id="one-tip-below-unary-nodes"),
    ],
)
def test_from_newick_refuses_files(write, text, match):
    with pytest.raises(ValueError, match=match):
        BranchTable.from_newick(write(text), ["a", "b"])


def caterpillar(n, changed):
    """Write a tree of n tips whose branches have length 1, but for those that are changed.

    Tip i hangs on fork i, which hangs on fork i - 1; fork 0 is the root.
    """
    written = lambda name: name + changed.get(name, ":1")  # noqa: E731
    text = f"({written(f't{n - 2}')},{written(f't{n - 1}')})"
    for i in range(n - 3, -1, -1):
        text = f"({written(f't{i}')},{text}{written(f'f{i + 1}')})"
    return f"{text};"


FEW = {
    "tip": ({"t9": ""}, "no length for 1 of its 58 branches, such as that above 't9'"),
    "fork": ({"f3": ""}, "no length for 1 of its 58 branches, such as that above 'f3'"),
    "beside-the-root": ({"f1": ""}, "no length for 1 of its 58 .* above 'f1'; it is taken as 0"),
    "two-in-a-row": ({"f3": "", "t4": ""}, "no length for 2 of its 58 branches"),
    "nothing-after-the-colon": ({"f3": ":"}, "no length for 1 of"),
    "nan": ({"f3": ":NaN", "t2": ":NA"}, "no length for 2 of"),
    "negative": ({"f3": ":-0.01"}, "a length below zero for 1 of its 58 .* above 'f3'"),
    "negative-tips": ({"t0": ":-1e-9", "t29": ":-1e-9"}, "a length below zero for 2 of"),
    "both": ({"t9": "", "f3": ":-1e-9"}, "no length for 1 .*\n.*a length below zero for 1"),
}


@pytest.mark.parametrize("prune", [True, False])
@pytest.mark.parametrize("kind", FEW)
def test_from_newick_takes_a_few_lengths_as_zero(write, kind, prune, caplog):
    changed, warning = FEW[kind]
    names = [f"t{i}" for i in range(30)]
    path = write(caterpillar(30, changed))
    found = diversities(BranchTable.from_newick(path, names, prune=prune))
    assert re.search(warning, caplog.text)
    zero = dict.fromkeys(changed, ":0")
    expected = diversities(BranchTable.from_newick(write(caterpillar(30, zero)), names))
    assert found == pytest.approx(expected)
    assert found["t29"] == pytest.approx(29 - len({*changed} & {"t29", "f3", "f1"}))
    assert pruned_newick(write(caterpillar(30, changed)), names) == pruned_newick(
        write(caterpillar(30, zero)), names
    )


def test_from_newick_refuses_many_lengths_that_are_missing(write, caplog):
    missing = {f"t{i}": "" for i in range(2)}
    BranchTable.from_newick(write(caterpillar(30, missing)), ["t7"])
    missing["f4"] = ""
    message = r"lacks the lengths of 3 of its 58 branches \(up to 5% would be taken as 0\)"
    with pytest.raises(ValueError, match=message):
        BranchTable.from_newick(write(caterpillar(30, missing)), ["t7"])


def test_from_newick_refuses_lengths_far_below_zero(write):
    changed = {"f3": ":-0.5"}
    BranchTable.from_newick(write(caterpillar(30, changed)), ["t7"])
    changed["t9"] = ":-0.1"
    message = r"has 2 branches .* '-0.1' above 't9'.* at most 1% of the total length"
    with pytest.raises(ValueError, match=message):
        BranchTable.from_newick(write(caterpillar(30, changed)), ["t7"])


@pytest.mark.parametrize(
    ("text", "warned"),
    [
        ("(a:1,b:1,(c:1,(d:1,e:1):1):1);", True),
        ("[&U](a:1,b:1,(c:1,d:1):1);", True),
        ("((a:1,b:1):1,(c:1,d:1):1);", False),
        ("((a:1,b:1,x:1):1,(c:1,d:1):1);", False),
        ("(a:1,b:1,c:1,d:1);", False),
        ("(a:1,b:1,(c:1,d:1,e:1):1);", False),
    ],
)
def test_a_tree_that_looks_as_if_it_had_no_root_is_warned_of(write, caplog, text, warned):
    BranchTable.from_newick(write(text), ["a", "b"])
    assert ("forks into three at its root and into two elsewhere" in caplog.text) == warned


def test_lengths_that_are_given_are_not_warned_of(write, caplog):
    BranchTable.from_newick(write("((a:0,b:2)0.9:0.0,c:3):-1;"), ["a", "b", "c"])
    assert not caplog.records


def test_from_newick_names_a_feature_that_is_no_tip(write):
    path = write("((a:1,b:2)inner:3,c:4);")
    with pytest.raises(ValueError, match=r"1 of 2 features .* among the 3 tips .* 'inner'"):
        BranchTable.from_newick(path, ["a", "inner"])
    with pytest.raises(
        ValueError,
        match=r"2 of 2 features .* such as 'x' \(a tip is called 'a'\); give the phylogeny",
    ):
        BranchTable.from_newick(path, ["x", "y"])


@pytest.mark.parametrize("text", ["(a:1,a:2,b:1);", "('a':1,a:2,b:1);", "('a':1,'a':2,b:1);"])
def test_from_newick_refuses_a_feature_that_is_several_tips(write, text):
    with pytest.raises(ValueError, match=r"1 features occur at several tips .* such as 'a'"):
        BranchTable.from_newick(write(text), ["b", "a"])


def test_from_newick_refuses_two_tips_that_decode_to_one_feature(write):
    with pytest.raises(ValueError, match=r"1 features occur at several tips .* such as '\(a\)'"):
        BranchTable.from_newick(write("(%28a%29:1,%28a):1,b:2);".replace("a)", "a%29")), ["(a)"])


def test_missing_features_lists_them_in_order(write):
    path = write("('it''s':1,a%20b:2,c:3);")
    assert missing_features(path, ["z", "c", "a b", "y", "it's", "a%20b"]) == ["z", "a b", "y"]
    assert missing_features(path, ["a b", "it's"]) == []


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        (["c", "d d", "b c", "a"], "(((f3:1e-07,f2:2.0):3.0,f1:2.123456789012):1.0,f0:4.0);"),
        (["a", "b c"], "((f0:1e-07,f1:2.0):4.0);"),
        (["a"], "(f0:4.0000001);"),
    ],
)
def test_pruned_newick_leads_to_the_features(write, features, expected):
    path = write("(((a:1e-7,'b c':2)x:3,(x:1,d%20d:0.123456789012):2):1,c:4)r:7;")
    assert pruned_newick(path, features) == expected
    with pytest.raises(ValueError, match=r"1 of 2 features .* such as 'z'"):
        pruned_newick(path, ["a", "z"])


def test_read_newick_keeps_the_names_of_tips_asked_for_only(write):
    path = write("((a:1,'b c':2)d:3,(e:1,'f':1)'g h':1,d:4)root;")
    newick = read_newick(path, {"b c", "d", "root", "z"}.__contains__)
    assert (newick.names, newick.n_tips) == (("b c", "d"), 5)
    assert [newick.tree.length(node) for node in newick.nodes] == [2, 4]
    named = [i for i in range(len(newick.tree.B)) if newick.tree.name(i)]
    assert named == newick.nodes.tolist()


@pytest.mark.parametrize("name", ['(),:;[]"', " a\tb\nc ", "%(a)%", "it''s", "Ωmega"])
def test_read_newick_gives_quoted_names_back(write, name):
    path = write(f"('{name}':1,b:2);")
    newick = read_newick(path, lambda _: True)
    assert newick.names == (name.replace("''", "'"), "b")
    assert [newick.tree.length(node) for node in newick.nodes] == [1, 2]


def test_read_newick_takes_deep_trees(write):
    n = 20_000
    text = "(" * n + "t0:1" + "".join(f",t{i}:1):1" for i in range(1, n + 1)) + ";"
    newick = read_newick(write(text), lambda name: name == "t7")
    assert newick.names == ("t7",)
    assert np.sum(newick.tree.B) == 2 * n + 1


SEQUENCES = ["ACGTTGCA" * 5, "TTGCAACG" * 5, "GGGGTTTT" * 5]
SUMS = [hashlib.md5(sequence.encode()).hexdigest() for sequence in SEQUENCES]
SHA1 = [hashlib.sha1(sequence.encode()).hexdigest() for sequence in SEQUENCES]


@pytest.mark.parametrize("prune", [True, False])
@pytest.mark.parametrize(
    ("features", "tips"),
    [
        pytest.param(SEQUENCES, SUMS, id="tips-are-MD5"),
        pytest.param(SUMS, SEQUENCES, id="features-are-MD5"),
        pytest.param(SEQUENCES, SHA1, id="tips-are-SHA-1"),
        pytest.param(SHA1, SEQUENCES, id="features-are-SHA-1"),
        pytest.param([*SUMS[:2], SHA1[2]], [SUMS[0], *SEQUENCES[1:]], id="mixed"),
        pytest.param(SUMS, [f"{name};size=123;" for name in SUMS], id="tips-with-sizes"),
        pytest.param(SUMS, [f"'{name};size=123;'" for name in SUMS], id="quoted-with-sizes"),
        pytest.param([f"{name};size=123" for name in SUMS], SUMS, id="features-with-sizes"),
        pytest.param([f"{n};size=1;" for n in SUMS], [f"{n};size=2" for n in SUMS], id="sizes"),
        pytest.param([s.lower() for s in SEQUENCES], SEQUENCES, id="case"),
        pytest.param(["f_1", "f_2", "f_3"], ["'f 1'", "'f 2'", "f_3"], id="blanks"),
        pytest.param(["1;size=4;", "2;size=4;", "3"], ["1", "2", "3"], id="numbers"),
    ],
)
def test_from_newick_finds_tips_in_another_form(write, caplog, features, tips, prune):
    caplog.set_level(logging.INFO)
    path = write("(({}:1,{}:2):3,({}:4,x:1):1);".format(*tips))
    branches = BranchTable.from_newick(path, features, prune=prune)
    assert list(branches.above @ branches.lengths) == pytest.approx([4, 5, 5])
    assert branches.feature_ids == tuple(features)
    assert "tips of the phylogeny are named in another form than the features" in caplog.text
    assert missing_features(path, features) == []
    assert pruned_newick(path, features) == "((f0:1.0,f1:2.0):3.0,f2:5.0);"


def test_from_newick_prefers_names_as_written(write, caplog):
    caplog.set_level(logging.INFO)
    path = write(f"(({SUMS[0]}:1,{SEQUENCES[0]}:2):3,a:4);")
    branches = BranchTable.from_newick(path, [SEQUENCES[0], SUMS[0]])
    assert list(branches.above @ branches.lengths) == [5, 4]
    assert not caplog.messages


def test_from_newick_takes_a_tip_in_another_form_for_one_feature_only(write):
    path = write(f"('{SUMS[0]};size=2;':1,a:4);")
    assert missing_features(path, [SEQUENCES[0], SUMS[0], "a"]) == [SUMS[0]]


def test_from_newick_refuses_two_tips_in_other_forms(write):
    path = write(f"({SUMS[0]};size=2;:1,{SUMS[0]};size=3;:1,b:2);")
    with pytest.raises(ValueError, match=rf"1 features occur at several tips .* '{SUMS[0]}'"):
        BranchTable.from_newick(path, [SUMS[0]])


def test_from_newick_names_a_tip_beside_a_feature_that_is_none(write):
    path = write(f"(({SUMS[0]}:1,b:2):3,c:4);")
    with pytest.raises(ValueError, match=r"such as 'GGGG.*' \(a tip is called 'b'\); give"):
        BranchTable.from_newick(path, [SEQUENCES[0], SEQUENCES[2]])
    assert another_tip(path, ["b", SEQUENCES[0]]) == "c"
    assert another_tip(path, ["b", "c", SUMS[0]]) == ""
