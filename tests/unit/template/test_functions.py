"""Go templates: what they render, and what they refuse. The results are those of Traefik: see tests/differential."""

# ruff: noqa: E501
from __future__ import annotations

import re

import pytest

from lbcore.provider.labels import rule_data
from lbcore.template.engine import Rule, TemplateError, normalize, render_file
from lbcore.template.functions.arguments import LONGEST
from lbcore.template.render import STEP_LIMIT
from lbcore.template.sprig import MISSING, SPRIG

# Templates of files, and their results.
RENDERED = [
    ("{{ 1 }}{{ 1.5 }}{{ true }}{{ \"a\\tb\" }}{{ `c` }}{{ 'x' }}", "11.5truea\tbc120"),
    ("a {{- 1 -}} b", "a1b"),
    ("a\n{{- /* note */ -}}\nb", "ab"),
    ("{{/* note */}}x", "x"),
    ("{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ end }}{{ $x }}", "2"),
    ("{{ if eq 1 2 }}a{{ else if eq 1 1 }}b{{ else }}c{{ end }}", "b"),
    ("{{ with \"v\" }}{{ . }}{{ else }}none{{ end }}{{ with \"\" }}x{{ else }}none{{ end }}", "vnone"),
    ("{{ range $i, $e := list \"a\" \"b\" }}{{ $i }}{{ $e }};{{ end }}", "0a;1b;"),
    ("{{ range list }}x{{ else }}none{{ end }}", "none"),
    ("{{ range 3 }}{{ . }}{{ end }}", "012"),
    ("{{ range $k, $v := dict \"b\" 2 \"a\" 1 }}{{ $k }}={{ $v }} {{ end }}", "a=1 b=2 "),
    ("{{ range until 9 }}{{ if eq . 1 }}{{ continue }}{{ end }}{{ if gt . 3 }}{{ break }}{{ end }}{{ . }}{{ end }}", "023"),
    ("{{ define \"t\" }}<{{ . }}>{{ end }}{{ template \"t\" \"a\" }}{{ template \"t\" 2 }}", "<a><2>"),
    ("{{ block \"b\" 7 }}[{{ . }}]{{ end }}", "[7]"),
    ("{{ and 1 0 2 }}{{ or 0 \"\" \"x\" }}{{ not 0 }}", "0xtrue"),
    ("{{ or 1 (fail \"never\") }}", "1"),
    ("{{ eq 3 1 2 3 }}{{ ne 1 2 }}{{ lt \"a\" \"b\" }}{{ le 2 2 }}{{ gt 1.5 1.0 }}{{ ge 1 2 }}", "truetruetruetruetruefalse"),
    ("{{ len \"äb\" }}{{ len (list 1 2) }}{{ len (dict \"a\" 1) }}", "321"),
    ("{{ index (list 1 2) 1 }}{{ index (dict \"a\" (list 5 6)) \"a\" 0 }}{{ slice (list 1 2 3) 1 }}", "25[2 3]"),
    ("{{ (dict \"a\" (dict \"b\" 3)).a.b }}{{ $d := dict \"x\" 1 }}{{ $d.x }}", "31"),
    ("{{ (dict).none }}", "<no value>"),
    ("{{ printf \"%s-%d-%05d-%x-%q-%v-%t-%.2f|%-4s|%4s|%%\" \"a\" 1 42 255 \"q\" (list 1 2) true 1.5 \"l\" \"r\" }}",
     "a-1-00042-ff-\"q\"-[1 2]-true-1.50|l   |   r|%"),
    ("{{ printf \"%d\" \"x\" }} {{ printf \"%d\" }} {{ printf \"a\" 1 }}", "%!d(string=x) %!d(MISSING) a%!(EXTRA int=1)"),
    ("{{ print 1 2 \"a\" \"b\" 3 }}|{{ println \"a\" 1 }}", "1 2ab3|a 1\n"),
    ("{{ \"a b\" | upper | replace \" \" \"-\" | printf \"<%s>\" }}", "<A-B>"),
    ("{{ html \"<a href='x'>\" }}{{ urlquery \"a b&c\" }}", "&lt;a href=&#39;x&#39;&gt;a+b%26c"),
    ("{{ split \"a,b\" \",\" | join \"|\" }}{{ normalize \"/web_shop.1\" }}", "a|bweb-shop-1"),
    ("{{ default \"d\" \"\" }}{{ default \"d\" \"v\" }}{{ coalesce \"\" 0 \"c\" }}{{ ternary 1 2 false }}", "dvc2"),
    ("{{ empty \"\" }}{{ empty 0 }}{{ all 1 0 }}{{ any 0 1 }}", "truetruefalsetrue"),
    ("{{ trim \"  a \" }}{{ trimAll \"$\" \"$5$\" }}{{ trimPrefix \"a\" \"ab\" }}{{ trimSuffix \"b\" \"ab\" }}", "a5ba"),
    ("{{ title \"hello world\" }}{{ untitle \"Ab Cd\" }}{{ swapcase \"aB\" }}{{ nospace \"a b\" }}{{ initials \"Ab Cd\" }}",
     "Hello Worldab cdAbabAC"),
    ("{{ trunc 3 \"abcdef\" }}{{ trunc -2 \"abcdef\" }}{{ substr 1 3 \"abcdef\" }}{{ abbrev 5 \"abcdefgh\" }}", "abcefbcab..."),
    ("{{ repeat 3 \"ab\" }}{{ contains \"b\" \"abc\" }}{{ hasPrefix \"a\" \"ab\" }}{{ hasSuffix \"a\" \"ab\" }}", "abababtruetruefalse"),
    ("{{ quote \"a\\\"b\" 1 }}{{ squote \"x\" }}{{ cat 1 \"a\" }}{{ plural \"one\" \"many\" 2 }}", "\"a\\\"b\" \"1\"'x'1 amany"),
    ("{{ indent 2 \"a\\nb\" }}{{ nindent 1 \"c\" }}", "  a\n  b\n c"),
    ("{{ add 1 2 3 }}{{ sub 5 7 }}{{ mul 2 3 4 }}{{ div -7 2 }}{{ mod -7 2 }}{{ add1 1 }}", "6-224-3-12"),
    ("{{ max 1 3 2 }}{{ min 3 1 }}{{ ceil 1.1 }}{{ floor 1.9 }}{{ round 3.14159 2 }}{{ addf 1 0.5 }}{{ divf 1 4 }}", "31213.141.50.25"),
    ("{{ int \"12\" }}{{ atoi \"x\" }}{{ float64 \"1.5\" }}{{ int64 3.9 }}{{ toDecimal \"777\" }}", "1201.53511"),
    ("{{ until 3 }}{{ untilStep 1 7 3 }}{{ seq 3 }}|{{ seq 2 -2 -2 }}", "[0 1 2][1 4]1 2 3|2 0 -2"),
    ("{{ first (list 1 2) }}{{ last (list 1 2) }}{{ rest (list 1 2 3) }}{{ initial (list 1 2 3) }}{{ reverse (list 1 2) }}",
     "12[2 3][1 2][2 1]"),
    ("{{ append (list 1) 2 }}{{ prepend (list 1) 0 }}{{ concat (list 1) (list 2) }}{{ uniq (list 1 1 2) }}", "[1 2][0 1][1 2][1 2]"),
    ("{{ without (list 1 2 3) 2 }}{{ has 2 (list 1 2) }}{{ compact (list 0 1 \"\") }}{{ chunk 2 (list 1 2 3) }}", "[1 3]true[1][[1 2] [3]]"),
    ("{{ sortAlpha (list \"b\" \"a\") }}{{ join \",\" (list 1 \"a\") }}{{ splitList \",\" \"a,b\" }}{{ (splitn \",\" 2 \"a,b,c\")._1 }}",
     "[a b]1,a[a b]b,c"),
    ("{{ $d := dict \"a\" 1 }}{{ $_ := set $d \"b\" 2 }}{{ get $d \"b\" }}{{ hasKey $d \"c\" }}{{ keys $d | sortAlpha }}{{ $d }}",
     "2false[a b]map[a:1 b:2]"),
    ("{{ pick (dict \"a\" 1 \"b\" 2) \"a\" }}{{ omit (dict \"a\" 1 \"b\" 2) \"a\" }}{{ dig \"a\" \"b\" \"no\" (dict) }}", "map[a:1]map[b:2]no"),
    ("{{ merge (dict \"a\" 1) (dict \"a\" 2 \"b\" 3) }}{{ mergeOverwrite (dict \"a\" 1) (dict \"a\" 2) }}", "map[a:1 b:3]map[a:2]"),
    ("{{ toJson (dict \"a\" (list 1 \"<\")) }}{{ (fromJson \"{\\\"a\\\": 2}\").a }}", "{\"a\":[1,\"\\u003c\"]}2"),
    ("{{ b64enc \"a\" }}{{ b64dec \"YQ==\" }}{{ b32enc \"a\" }}{{ sha256sum \"a\" | trunc 8 }}", "YQ==aME======ca978112"),
    ("{{ regexMatch \"^a+$\" \"aa\" }}{{ regexFind \"[0-9]+\" \"a12\" }}{{ regexReplaceAll \"a(x*)b\" \"-ab-axxb-\" \"${1}W\" }}",
     "true12-W-xxW-"),
    ("{{ regexFindAll \"[0-9]\" \"123\" 2 }}{{ regexSplit \",\" \"a,b,c\" 2 }}{{ regexReplaceAllLiteral \"a\" \"a\" \"$1\" }}", "[1 2][a b,c]$1"),
    ("{{ base \"a/b.c\" }}{{ dir \"a/b.c\" }}{{ ext \"a/b.c\" }}{{ clean \"a/../b\" }}{{ isAbs \"/a\" }}", "b.ca.cbtrue"),
    ("{{ kindOf 1 }}{{ kindOf \"\" }}{{ kindOf (list) }}{{ kindIs \"map\" (dict) }}{{ typeOf 1.5 }}", "intstringslicetruefloat64"),
    ("{{ 1e6 }} {{ 1e21 }} {{ 0x10 }} {{ 0b11 }} {{ 1_000 }} {{ 0.00001 }}", "1e+06 1e+21 16 3 1000 1e-05"),
    ("{{ \"{{\" }}", "{{"),
]  # fmt: skip


@pytest.mark.parametrize(("template", "text"), RENDERED, ids=range(len(RENDERED)))
def test_render(template: str, text: str) -> None:
    assert render_file(template).text == text


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOMAIN", "shop.test")
    monkeypatch.delenv("NOTHING", raising=False)
    assert render_file("{{ env `DOMAIN` }} {{ env `NOTHING` | default `d` }} {{ expandenv `a-${DOMAIN}-$NOTHING` }}").text == (
        "shop.test d a-shop.test-"
    )


def test_lines_are_those_of_the_template() -> None:
    rendered = render_file('a\n{{ if true }}\nb\n{{ end }}\n{{- range list 1 2 }}\nc{{ . }}\n{{- end }}\nd')
    assert list(zip(rendered.text.split("\n"), rendered.lines)) == [
        ("a", 1), ("", 2), ("b", 3), ("", 5), ("c1", 6), ("c2", 6), ("d", 8),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("template", "line", "problem"),
    [
        ("a\n{{ nofunc }}", 2, "there is no template function nofunc"),
        ("{{ uper `a` }}", 1, r"there is no template function uper.*did you mean upper"),
        ("\n\n{{ now }}", 3, "the template function now is not supported"),
        ("{{ $x }}", 1, r"undefined variable \$x"),
        ("{{ if true }}", 1, "no {{end}}"),
        ("{{ end }}", 1, "unexpected {{end}}"),
        ("{{ 1", 1, "has no }}"),
        ("{{ 'ab' }}", 1, "double quotes"),
        ("{{ \"a }}", 1, "has no end"),
        ("{{ }}", 1, "missing value"),
        ("{{ .Name }}", 1, "can't evaluate field Name in type bool"),
        ("{{ upper 1 }}", 1, "expected string; got int"),
        ("{{ upper }}", 1, "wrong arguments for upper"),
        ("{{ eq 1 `a` }}", 1, "incompatible types"),
        ("{{ index (list 1) 5 }}", 1, "out of range"),
        ("{{ div 1 0 }}", 1, "divide by zero"),
        ("{{ fail `no` }}", 1, "fail: no"),
        ("{{ range `abc` }}{{ end }}", 1, "can't iterate"),
        ("{{ break }}", 1, "outside of {{range}}"),
        ("{{ template `x` }}", 1, "not defined"),
        ("{{ regexMatch `(` `a` }}", 1, "error parsing regexp"),
        ("{{ /* a */ }}", 1, "."),
        ("{{ 1 | 2 }}", 1, "needs a function"),
    ],
)
def test_refused(template: str, line: int, problem: str) -> None:
    with pytest.raises(TemplateError) as caught:
        render_file(template)
    assert caught.value.line == line
    assert re.search(problem, f"{caught.value.problem} {caught.value.hint}")


@pytest.mark.parametrize(
    "template",
    [
        "{{ range until 100000000 }}x{{ end }}",
        "{{ range 2000000 }}{{ end }}",
        "{{ repeat 100000000 `x` }}",
        "{{ indent 100000000 `x` }}",
        "{{ printf `%100000000d` 1 }}",
        "{{ define `a` }}{{ template `a` }}{{ end }}{{ template `a` }}",
        "{{ define `a` }}{{ template `a` . }}{{ end }}{{ template `a` 1 }}",
        "{{ range until 2000 }}{{ range until 2000 }}x{{ end }}{{ end }}",
        "{{ if true }}" * 200 + "{{ end }}" * 200,
        "{{ " + "(" * 300 + "1" + ")" * 300 + " }}",
        "{{ seq 1 100000000 }}",
    ],
)
def test_rendering_has_limits(template: str) -> None:
    assert LONGEST < 10**8 and STEP_LIMIT <= 10**6
    with pytest.raises(TemplateError):
        render_file(template)


def test_no_function_is_both_there_and_missing() -> None:
    assert not MISSING & SPRIG.keys()


def test_rules_have_the_functions_and_the_data_of_providers() -> None:
    data = rule_data("web-shop", {"tier": "eu", "a.b/c": "x"}, "web_1")
    assert Rule("Host(`{{ normalize .Name }}.{{ index .Labels \"tier\" }}`)").rendered(data) == "Host(`web-shop.eu`)"
    assert Rule("{{ .ContainerName }} {{ index .Labels `none` }}|{{ .Labels.tier }}|{{ index .Labels `a.b/c` }}").rendered(data) == (
        "web_1 |eu|x"
    )
    assert Rule("{{ (split \"-\" .Name)._1 }}").rendered(data) == "shop"
    with pytest.raises(TemplateError, match="there is no field Nmae"):
        Rule("{{ .Nmae }}").rendered(data)
    assert normalize("/a_b..c") == "a-b-c"
