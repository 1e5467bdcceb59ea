"""The rule language: what is read, what is refused and how it is said."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.config.rule import And, Matcher, Not, Or, Rule, RuleError, parse_rule, placeholders, rule_hint

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
matchers = st.one_of(
    texts.filter(str.isascii).map(lambda text: Matcher("Host", (text,))),
    texts.map(lambda text: Matcher("Path", ("/" + text,))),
    st.tuples(texts, texts).map(lambda two: Matcher("Header", two)),
    texts.map(lambda text: Matcher("Query", (text,))),
)
rules: st.SearchStrategy[Rule] = st.recursive(
    matchers,
    lambda inner: st.one_of(
        inner.map(Not),
        st.tuples(inner, inner).map(lambda two: And(*two)),
        st.tuples(inner, inner).map(lambda two: Or(*two)),
    ),
    max_leaves=8,
)


def unplaced(rule: Rule) -> Rule:
    """Without positions, which differ from text to text."""
    if isinstance(rule, Matcher):
        return Matcher(rule.name, rule.args)
    if isinstance(rule, Not):
        return Not(unplaced(rule.rule))
    return type(rule)(unplaced(rule.left), unplaced(rule.right))


@given(rules)
def test_rule_survives_being_written(rule: Rule) -> None:
    assert unplaced(parse_rule(str(rule))) == rule


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse_rule(text)
    except RuleError as error:
        assert 0 <= error.position <= len(text)


@pytest.mark.parametrize("name", ["Host", "host", "HOST"])
def test_names_are_taken_in_three_spellings(name: str) -> None:
    assert parse_rule(f"{name}(`a`)") == Matcher("Host", ("a",), 0)


@pytest.mark.parametrize("name", ["hoSt", "HosT"])
def test_other_spellings_are_refused(name: str) -> None:
    with pytest.raises(RuleError, match=f"unsupported function: {name}"):
        parse_rule(f"{name}(`a`)")


def test_operators_bind_as_in_go() -> None:
    a, b, c = (Matcher("Host", (name,)) for name in "abc")
    assert unplaced(parse_rule("Host(`a`) || Host(`b`) && !Host(`c`)")) == Or(a, And(b, Not(c)))
    assert unplaced(parse_rule("(Host(`a`) || Host(`b`)) && Host(`c`)")) == And(Or(a, b), c)


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ("", "empty rule"),
        ("Hst(`x`)", r"error while parsing rule Hst\(`x`\): parsing rule Hst\(`x`\): unsupported function: Hst"),
        ("Host(`a`, `b`)", r"unexpected number of parameters; got 2, expected one of \[1\]"),
        ("Host()", "error while checking rule Host: no args for matcher Host"),
        *(
            (
                f"{name}({args})",
                rf"error while parsing rule (.*): adding rule \1: error while checking rule {name}: "
                rf"empty args for matcher {name}, \[{shown}\]$",
            )
            for name, args, shown in (
                ("Host", "``", ""),
                ("HostRegexp", "``", ""),
                ("Path", "``", ""),
                ("PathPrefix", "``", ""),
                ("PathRegexp", "``", ""),
                ("Method", "``", ""),
                ("ClientIP", "``", ""),
                ("Query", "``", ""),
                ("Query", "`a`, ``", "a "),
                ("Query", "``, `a`", " a"),
                ("QueryRegexp", "`a`, ``", "a "),
                ("Header", "`a`, ``", "a "),
                ("Header", "``, `a`", " a"),
                ("HeaderRegexp", "`a`, ``", "a "),
                ("Cookie", "`a`, ``", "a "),
            )
        ),
        *(
            (f"{name}({args})", rf"error while adding rule {name}: unexpected number of parameters; got {count},")
            for name, args, count in (
                ("Header", "`a`", 1),
                ("HeaderRegexp", "`a`, `b`, `c`", 3),
                ("Query", "`a`, `b`, `c`", 3),
                ("Method", "`GET`, `PUT`", 2),
                ("Path", "`/a`, `/b`", 2),
                ("ClientIP", "`10.0.0.1`, `10.0.0.2`", 2),
            )
        ),
        ("ClientIP(`fe80::1%eth0`)", "neither an IP address nor a network"),
        ("Host(`a`) /* open", "unexpected '/'"),
        ("Host(`a`", r"expected '\)'"),
        ("Host(`a`) &&", "ends too early"),
        ("Host(`a`) Host(`b`)", "unexpected 'Host'"),
        ("Host(`é`)", "non-ASCII"),
        ("Path(`x`)", "does not start with a '/'"),
        ("PathRegexp(`(`)", "invalid regular expression"),
        ("ClientIP(`10.0.0.0/99`)", "neither an IP address nor a network"),
        ("!" * 1000 + "Host(`a`)", "nested deeper"),
        ("(" * 1000, "nested deeper"),
        ("Host(`a`) || " * 9000 + "Host(`a`)", "longer than"),
        ('Host("\\q")', "unknown escape"),
    ],
)
def test_bad_rule_is_refused_with_the_reason(rule: str, problem: str) -> None:
    with pytest.raises(RuleError, match=problem):
        parse_rule(rule)


def test_both_quotes() -> None:
    assert parse_rule(r'Header("X\t\x41\u00e9", `a\n`)') == Matcher("Header", ("X\tAé", "a\\n"), 0)


@pytest.mark.parametrize(
    "rule", ["Host(`a`) // of all", "/* first\n */ Host(`a`)", "Host( // of all\n`a`)", "Host(`a`,)"]
)
def test_comments_and_a_last_comma_mean_nothing(rule: str) -> None:
    assert unplaced(parse_rule(rule)) == Matcher("Host", ("a",))


def test_comments_begin_outside_of_texts() -> None:
    assert unplaced(parse_rule('Path(`/a//b`) || Path("/*c*/")')) == Or(
        Matcher("Path", ("/a//b",)), Matcher("Path", ("/*c*/",))
    )


@pytest.mark.parametrize(
    ("rule", "hint"),
    [
        ("Host(`a`, `b`)", "write Host(`a`) || Host(`b`)"),
        ("Method(`GET`, `PUT`)", "write Method(`a`) || Method(`b`)"),
        ("Headers(`a`, `b`)", "did you mean Header?"),
        ("Nonsense(`a`)", "there are Host, HostRegexp, "),
        ("Header(`a`)", ""),
        ("Path(`a`)", ""),
    ],
)
def test_rules_of_version_2_are_told_how_they_are_written_now(rule: str, hint: str) -> None:
    with pytest.raises(RuleError) as caught:
        parse_rule(rule)
    found = rule_hint(str(caught.value))
    assert hint in found if hint else found == ""


def test_placeholders_of_version_2_are_found() -> None:
    rule = "HostRegexp(`{sub:[a-z]{2}}.a.b`) || Path(`/a/{id}`) || PathRegexp(`^/x{2,3}$`) || Query(`a`, `{b}`)"
    assert placeholders(parse_rule(rule)) == ["HostRegexp(`{sub:[a-z]{2}}.a.b`)", "Path(`/a/{id}`)"]


@pytest.mark.parametrize("space", ["\u00a0", "\u2003", "\v", "\x1c"])
def test_space_is_what_go_takes_for_it(space: str) -> None:
    assert str(parse_rule("\tHost(`a`)\r\n")) == "Host(`a`)"
    with pytest.raises(RuleError):
        parse_rule(f"Host(`a`){space}")
