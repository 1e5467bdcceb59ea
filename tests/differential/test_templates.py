"""Go templates in real Traefik and in lbcore: the same text from each function, and the same refusals."""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from lbcore.config.load import parse_dynamic
from lbcore.template.engine import TemplateError, render_file
from lbcore.template.sprig import SPRIG
from tests.support.instance import eventually
from tests.support.ports import free_port
from tests.support.traefik import TRAEFIK
from tests.unit.template.test_functions import RENDERED

# Expressions beside the templates of the unit tests; each is rendered by `printf "%v"`.
EXPRESSIONS = r"""
abbrev 3 "abcdef"
abbrev 6 "abcdefgh"
trunc 10 "abc"
trunc -10 "abc"
trunc 2 "äöü"
substr -1 2 "abc"
substr 1 -1 "abc"
substr 1 99 "abc"
trim "\t a \n"
trimAll "ab" "abcba"
trimPrefix "x" "abc"
upper "äb"
lower "ÄB"
title "o'neil is-here foo_bar"
untitle "Hello World"
swapcase "Hello World"
repeat 0 "a"
nospace "a \t b"
initials "first  second"
quote 1.5 true
squote "a" 1
cat "a" 1 true nil "b"
indent 2 "a\n\nb"
replace "a" "" "banana"
plural "one" "many" 1
toString 1.0
toString (list 1 "a" true)
toStrings (list 1 "a")
splitList "" "abc"
splitList "$" "a$b"
split "a.b" "."
splitn "." 2 "a.b.c"
join "-" "single"
join "-" (list 1 2.5 true "x")
sortAlpha (list "b" "B" "a")
regexMatch "^[a-z]+$" "Abc"
regexFind "x*" "aaa"
regexFindAll "[0-9]+" "1 22 333" -1
regexFindAll "a*" "baac" -1
regexReplaceAll "(\\w)(\\w)" "abcd" "$2$1"
regexReplaceAll "(a)" "abc" "${1}x$1x"
regexReplaceAll "(?P<first>a)" "abc" "${first}!"
regexReplaceAll "x*" "abc" "-"
regexReplaceAllLiteral "a" "aba" "${1}"
regexSplit "z+" "pizza" -1
regexSplit "z" "pizza" 1
regexSplit "a" "" -1
regexSplit "" "abc" -1
regexQuoteMeta "1.2.3+"
mustRegexMatch "a" "a"
until 0
until -3
untilStep 3 0 -1
untilStep 0 3 0
seq 3
seq -3
seq 2 5
seq 0 2 10
seq 0 -2 -5
seq
first (list)
last (list)
rest (list)
initial (list)
reverse (list "a" "b")
append (list) 1
prepend (list 1 2) 0
concat (list 1) (list) (list 2 3)
uniq (list 1 1.0 "1" 1)
without (list 1 2 1) 1
has "a" (list "a")
has 4 nil
compact (list 0 1 "" "a" false nil)
slice (list 1 2 3) 1
slice (list 1 2 3) 1 2
slice (list 1 2 3)
chunk 3 (list 1 2 3 4 5 6 7)
dict "a" 1 "b" (dict "c" 2)
dict "a"
get (dict "a" 1) "b"
hasKey (dict "a" 1) "a"
pluck "a" (dict "a" 1) (dict "b" 2) (dict "a" 3)
pick (dict "a" 1 "b" 2) "a" "z"
omit (dict "a" 1 "b" 2) "a"
merge (dict "a" 1 "n" (dict "x" 1)) (dict "a" 2 "b" 3 "n" (dict "x" 2 "y" 3))
mergeOverwrite (dict "a" 1 "n" (dict "x" 1)) (dict "a" 2 "n" (dict "x" 2))
mergeOverwrite (dict "a" true "n" (dict "x" 1)) (dict "a" false "n" (dict "x" 0 "y" ""))
mergeOverwrite (dict "a" (list 1) "b" (dict "c" 1) "d" "x") (dict "a" (list) "b" (dict) "d" nil)
merge (dict "a" false "b" "" "c" (list)) (dict "a" true "b" "x" "c" (list 1))
dig "a" "b" "none" (dict "a" (dict "b" 5))
dig "a" "none" (dict "b" 5)
deepCopy (dict "a" (list 1))
values (dict "a" 1)
keys (dict "a" 1)
unset (dict "a" 1 "b" 2) "a"
add 9223372036854775807 1
add "3" 1.9 true
add
sub 1 2
mul 2 "3"
div 7 -2
mod 7 -2
max 1 2 3
biggest 1 2
min 2 1
maxf 1 2.5
minf 1 0.5
ceil 1.0
floor -1.5
round 2.5 0
round 123.555 2
round -2.5 0
addf 1.5 1.5
subf 3 1 1
mulf 1.5 2
divf 10 4 2
add1 5
add1f 1.5
int "0x1F"
int "010"
int "abc"
int 1e3
int64 "12.7"
float64 "1e3"
float64 "x"
atoi "12"
atoi "x"
toDecimal "0777"
default "d" nil
default "d" 0
default "d" false
default "d" (list)
default "d" "x"
empty (dict)
coalesce 0 "" (list) "x" "y"
coalesce 0 ""
all "a" 1
any "" 0
ternary "a" "b" true
typeOf "a"
typeOf (list)
typeOf (dict)
typeOf 1
typeOf 1.5
typeOf nil
typeIs "int" 1
typeIsLike "string" "a"
kindOf (dict)
kindOf nil
kindIs "slice" (list)
deepEqual (list 1 2) (list 1 2)
deepEqual 1 1.0
toJson (dict "b" (list 1 2.5 "<a>&" nil true) "a" "ü")
toRawJson "<a>"
toPrettyJson (dict "a" (list 1) "b" (dict))
fromJson "[1, 2.5, \"a\", null, {\"x\": 1000000}]"
fromJson "bad"
b64enc "äö"
b64dec "w6TDtg=="
b32enc "abc"
b32dec "MFRGG==="
sha1sum "a"
sha256sum ""
adler32sum "abc"
urlParse "http://user:pw@host.test:8080/a/b?x=1#frag"
urlJoin (dict "scheme" "http" "host" "h:80" "path" "/p" "query" "a=1" "fragment" "f")
base "/a/b/"
base ""
dir "/a/b/c"
dir "a"
ext "a/b.tar.gz"
ext "a.b/c"
clean "/a/./b//../c/"
clean ""
isAbs "a"
normalize "/My_Container--1.x"
hello
print 1 2 "a" 3 4
print "a" "b"
print nil true
println 1 "a"
printf "%5d|%-5d|%05d|%+d|% d" 42 42 42 42 42
printf "%x %X %#x %o %b %c %U" 255 255 255 8 5 65 65
printf "%q %q" "a\nb\"" 65
printf "%s %v %d" (list 1 "a") (dict "a" 1) (list 1 2)
printf "%s" 1
printf "%d" "a"
printf "%t %v" true false
printf "%f %.1f %8.2f %e %g %G" 1.5 2.25 3.14159 1234.5 1e21 1e-7
printf "%6.2f|%-8s|%8s|%.2s" 1.0 "ab" "ab" "abcdef"
printf "%v %v %v %v" 1.0 100000.0 1e20 1e21
printf "%*d|%-*d" 5 1 5 2
printf "%T %T %T" 1 "a" 1.5
printf "%%|%z|%" 1
printf "%d %d" 1
printf "%[1]d" 7
printf "%v" nil
html "<a href=\"x\">'&"
js "it's \"<x>\" & = \n"
urlquery "a b/c?d=ü&"
len "äb"
len (list 1 2)
index "abc" 1
index (dict "a" (list 1 2)) "a" 1
index (dict) "x"
not ""
and 1 "" 2
or "" 0
eq 1 1
eq "a" "b" "a"
eq 1.5 1.5
eq true true
eq nil nil
ne "a" "b"
lt 1 2
lt "a" "B"
le 2 2
gt 2.5 1.5
ge "b" "a"
(dict "a" 1).a
(dict "a" (dict "b" "c")).a.b
(list 1 2) | len
"a" | printf "%s-%s" "b"
"a,b" | splitList "," | join ";"
camelcase "some_words"
camelcase "http_server"
camelcase "_complex__case_"
camelcase "some words-here"
camelcase "GOLANG_IS_GREAT"
camelcase "a"
camelcase "_"
camelcase "xYZ_aBC"
camelcase ""
camelcase "__a"
camelcase "a__"
snakecase "FirstName"
snakecase "HTTPServer"
snakecase "NoHTTPS"
snakecase "GO_PATH"
snakecase "GO PATH"
snakecase "GO-PATH"
snakecase "HTTP2XX"
snakecase "http2xx"
snakecase "HTTP20xOK"
snakecase "Bld4Floor3rd"
snakecase "Duration2m3s"
snakecase "  sentence case  "
snakecase "a.b,C:d"
snakecase "x1Y2"
snakecase "1st2Nd"
snakecase "ÄÖÜber"
snakecase "日本語Text"
snakecase "a$b"
snakecase ""
kebabcase "FirstName"
kebabcase "some_words and-more"
kebabcase "HTTPServer9Lives"
kebabcase "A1b2C3d4"
wrap 5 "the quick brown fox"
wrap 3 "a verylongword b"
wrap 0 "ab cd"
wrap 80 "short"
wrap 4 "  leading and  double"
wrapWith 5 "|" "the quick brown fox"
wrapWith 3 "--" "verylongword a"
wrapWith 3 "" "verylong"
abbrevboth 5 10 "1234 5678 9123"
abbrevboth 2 6 "1234 5678 9123"
abbrevboth 10 8 "1234 5678 9123"
abbrevboth 0 5 "1234567"
abbrevboth 20 9 "1234 5678 9123"
abbrevboth 6 8 "abcdefghijklmnopqrstuvwxyz"
semver "1.2.3-alpha.1+123"
(semver "v1.2").Major
(semver "1.2.3-b+c").Prerelease
(semver "1.2.3-b+c").Metadata
(semver "v1.2").Original
(semver "1").Minor
semverCompare "1.2.3" "1.2.3"
semverCompare "^1.2.0" "1.3.0"
semverCompare "^1.2.0" "2.0.0"
semverCompare "^0.2.3" "0.2.9"
semverCompare "^0.2.3" "0.3.0"
semverCompare "^0.0.3" "0.0.4"
semverCompare "^0" "0.9"
semverCompare "~1.2.3" "1.2.9"
semverCompare "~1.2" "1.3.0"
semverCompare "~1" "1.9.0"
semverCompare ">=1.2, <3" "2.5"
semverCompare ">=1.2 <3" "3.0.0"
semverCompare "1.2 - 1.4" "1.4.0"
semverCompare "1.2 - 1.4" "1.4.5"
semverCompare "1.2.x" "1.2.99"
semverCompare "1.x" "2.0"
semverCompare "*" "9.9.9"
semverCompare "!=1.2.3" "1.2.4"
semverCompare "!=1.x" "1.2.4"
semverCompare ">1.2.x" "1.2.5"
semverCompare ">1" "1.5.0"
semverCompare "<=1.2" "1.2.7"
semverCompare "<1.2" "1.2.0-beta"
semverCompare ">=1.2.0-0" "1.2.0-beta"
semverCompare "^1.0.0-alpha" "1.0.0-beta"
semverCompare "<1 || >3" "4.0.0"
semverCompare "=1.0.0-rc.2" "1.0.0-rc.2"
semverCompare ">1.0.0-rc.2" "1.0.0-rc.10"
semverCompare "1.2.3" "v1.2.3+build"
osBase "/a/b"
osClean "/a/../b"
osDir "/a/b"
osExt "a.b"
osIsAbs "/a"
htpasswd "a" "b" | len
bcrypt "b" | trunc 7
htpasswd "a:b" "b"
env "LBCORE_TEST"
env "LBCORE_NONE"
expandenv "x$LBCORE_TEST-${LBCORE_TEST}y"
0x1F
0b101
0o17
017
1_000
'a'
'\n'
"\u00e4\x41\101"
1e3
1.50
-5
.5
`raw\n`
true
""".strip().splitlines()
# Templates that neither renders.
BROKEN = r"""
{{ nofunc 1 }}
{{ $x }}
{{ if true }}
{{ end }}
{{ 1
{{ }}
{{ .Name }}
{{ upper 1 }}
{{ upper }}
{{ eq 1 "a" }}
{{ lt true false }}
{{ index (list 1) 5 }}
{{ div 1 0 }}
{{ fail "no" }}
{{ range "abc" }}{{ end }}
{{ break }}
{{ template "x" }}
{{ regexMatch "(" "a" }}
{{ len 1 }}
{{ slice (list 1 2) 2 1 }}
{{ ternary 1 2 3 }}
{{ mustFromJson "bad" }}
{{ 1 2 }}
{{ $a, $b := 1 }}
""".strip().splitlines()


@contextlib.contextmanager
def traefik(folder: Path, text: str) -> Iterator[int]:
    """Traefik with a dynamic file; the port of its API."""
    port = free_port()
    (folder / "dynamic.yml").write_text(text)
    command = [
        str(TRAEFIK), f"--entryPoints.traefik.address=127.0.0.1:{port}", "--entryPoints.web.address=127.0.0.1:0",
        "--api.insecure", f"--providers.file.filename={folder / 'dynamic.yml'}", "--providers.file.watch=false",
        f"--log.filePath={folder / 'log'}", "--log.level=DEBUG",
    ]  # fmt: skip
    process = subprocess.Popen(command, env={"LBCORE_TEST": "from outside"}, stdout=subprocess.DEVNULL)
    try:
        yield port
    finally:
        process.kill()
        process.wait(10)


def headers_of(folder: Path, text: str) -> dict[str, str]:
    """The headers of the middleware `m`, once Traefik has read the file."""

    def found() -> dict[str, str] | None:
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{port}/api/http/middlewares/m@file") as answer,
        ):
            headers: dict[str, str] = json.load(answer)["headers"]["customRequestHeaders"]
            return headers
        log = (folder / "log").read_text() if (folder / "log").exists() else ""
        refused = [line.partition("error=")[2] for line in log.splitlines() if "Cannot start the provider" in line]
        assert refused == []
        return None

    with traefik(folder, text) as port:
        return eventually(found, "Traefik has read the file") or {}


def test_functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LBCORE_TEST", "from outside")
    lines = [f'        X-{n}: {{{{ printf "%v" ({text}) | b64enc | quote }}}}' for n, text in enumerate(EXPRESSIONS)]
    head = "http:\n  middlewares:\n    m:\n      headers:\n       customRequestHeaders:\n"
    theirs = headers_of(tmp_path, head + "\n".join(lines) + "\n")
    different = {}
    for number, text in enumerate(EXPRESSIONS):
        wanted = base64.b64decode(theirs.get(f"X-{number}", "")).decode(errors="replace")
        try:
            ours = base64.b64decode(render_file(f'{{{{ printf "%v" ({text}) | b64enc }}}}').text).decode(
                errors="replace"
            )
        except TemplateError as error:
            ours = f"ERROR {error}"
        if ours != wanted:
            different[text] = (wanted, ours)
    assert different == {}
    tried = " ".join([*EXPRESSIONS, *(template for template, _ in RENDERED)])
    assert [
        name
        for name in SPRIG
        if name not in tried and not name.startswith("must") and name not in ("push", "tuple", "trimall", "set")
    ] == []


def test_templates(tmp_path: Path) -> None:
    blocks = [template for template, text in RENDERED if "\n" not in template + text]
    head = "http:\n  middlewares:\n    m:\n      headers:\n       customRequestHeaders:\n"
    # Definitions are of the whole file: the names in them have to differ.
    blocks = [
        block.replace('define "t"', f'define "t{n}"')
        .replace('template "t"', f'template "t{n}"')
        .replace('block "b"', f'block "b{n}"')
        for n, block in enumerate(blocks)
    ]
    text = head + "".join(f"        X-{n}: |-\n            >{block}<\n" for n, block in enumerate(blocks))
    theirs = headers_of(tmp_path, text)
    config, _ = parse_dynamic(text)
    headers = config.http.middlewares["m"].headers
    assert headers is not None
    assert {name: value for name, value in headers.custom_request_headers.items() if theirs[name] != value} == {}
    assert len(theirs) == len(blocks) > 40


@pytest.mark.parametrize("first", range(0, len(BROKEN), 11))
def test_broken(tmp_path: Path, first: int) -> None:
    for number, template in enumerate(BROKEN[first : first + 11]):
        with pytest.raises(TemplateError):
            render_file(template)
        folder = tmp_path / str(number)
        folder.mkdir()
        with traefik(folder, f"# {template}\nhttp: {{}}\n"):
            log = folder / "log"
            eventually(
                lambda log=log: (
                    log.exists()
                    and ("Cannot start the provider" in log.read_text() or "Configuration received" in log.read_text())
                ),
                "Traefik has read the file",
            )
            assert "Cannot start the provider" in log.read_text(), template
