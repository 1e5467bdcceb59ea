"""A large file that is read in pieces means what it means as a whole, after whatever was changed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lbcore.config.cut import pieces_of
from lbcore.config.decode import Decoded, decode
from lbcore.config.dynamic import DynamicConfig
from lbcore.config.load import TextLoader
from lbcore.config.model import Object
from lbcore.config.pieces import FROM_CHARACTERS, PieceReader
from lbcore.config.tree import parse
from lbcore.errors import ConfigError

FILE = "dynamic.yml"
FILE_PATH = Path(FILE)
SEEDS = range(120)
EDITS = 6


def as_a_whole(text: str) -> Decoded[DynamicConfig] | None:
    try:
        return decode(parse(text, FILE, toml=False, templates=False), DynamicConfig)
    except ConfigError:
        return None


def objects_of(config: DynamicConfig) -> Iterator[tuple[str, str, str, Object]]:
    for layer in ("http", "tcp", "udp"):
        part = getattr(config, layer)
        for kind in type(part).model_fields:
            for name, thing in getattr(part, kind).items():
                yield layer, kind, name, thing


def shown(decoded: Decoded[DynamicConfig]) -> Any:
    """All that a configuration says, the places of objects and their faults included."""
    objects = [
        (layer, kind, name, thing, getattr(thing, "place", ""), getattr(thing, "faults", ()))
        for layer, kind, name, thing in objects_of(decoded.model)
    ]
    return objects, decoded.model.tls, decoded.broken, decoded.warnings


def large(count: int) -> str:
    lines = ["http:", "  routers:"]
    for number in range(count):
        lines += [f"    r{number}:", f"      rule: Host(`h{number}`)", f"      service: s{number}"]
    lines.append("  services:")
    for number in range(count):
        lines += [
            f"    s{number}:",
            "      loadBalancer:",
            f"        servers: [{{url: 'http://127.0.0.1:{number + 1}'}}]",
        ]
    return "\n".join(lines) + "\n"


class Writer:
    """Writes files as people write them, and a little as they do not."""

    def __init__(self, seed: int) -> None:
        self.choice = random.Random(seed)

    def file(self) -> list[str]:
        sections = [self.layer(name) for name in ("http", "tcp", "udp") if self.choice.random() < 0.7]
        if self.choice.random() < 0.4:
            sections.append(["tls:", "  options:", "    default:", "      minVersion: VersionTLS12"])
        self.choice.shuffle(sections)
        return [line for section in sections for line in section] or self.layer("http")

    def layer(self, layer: str) -> list[str]:
        step = self.choice.choice((1, 2, 4))
        kinds = ["routers", "services", *(["middlewares", "serversTransports"] if layer != "udp" else [])]
        self.choice.shuffle(kinds)
        lines = [f"{layer}:" + self.choice.choice(("", "  # all", " "))]
        for kind in kinds[: self.choice.randint(1, len(kinds))]:
            lines.append(" " * step + f"{kind}:")
            for number in range(self.choice.choice((1, 3, 40))):
                lines += [" " * 2 * step + line for line in self.thing(layer, kind, number, step)]
                if self.choice.random() < 0.1:
                    lines.append(self.choice.choice(("", "   # a remark", "# a remark", " " * 9)))
        return lines

    def thing(self, layer: str, kind: str, number: int, step: int) -> list[str]:
        name = self.choice.choice(
            (f"n{number}", f"n{number}", f'"n{number}"', f"'n.{number}'", str(number), f"n{number} ")
        )
        tab = " " * step
        if kind == "routers":
            rule = {"http": "Host(`a`) && !Path(`/b`)", "tcp": "HostSNI(`a`)", "udp": ""}[layer]
            body = [f"{tab}service: n{self.choice.randint(0, 40)}"]
            if rule:
                body.append(
                    self.choice.choice(
                        (f"{tab}rule: {rule}", f'{tab}rule: "{rule}"', f"{tab}rule: >\n{tab}{tab}{rule}")
                    )
                )
            body.append(f"{tab}entryPoints:")
            body.append(self.choice.choice((f"{tab}- web", f"{tab} - web", f"{tab}  - web\n{tab}  - other")))
        elif kind == "services":
            server = "url: http://127.0.0.1:1" if layer == "http" else "address: 127.0.0.1:1"
            body = [f"{tab}loadBalancer:", f"{tab}{tab}servers: [{{{server}}}]"]
        elif kind == "middlewares":
            body = [f"{tab}ipAllowList:", f"{tab}  sourceRange:", f"{tab}    - 10.0.0.0/8"]
        else:
            body = [f"{tab}dialTimeout: 1s"] if layer == "tcp" else [f"{tab}serverName: a"]
        return "\n".join([f"{name}:", *body]).split("\n")

    def edited(self, lines: list[str]) -> list[str]:
        lines = list(lines)
        at = self.choice.randrange(len(lines))
        odd = (
            "  x: y",
            "x: y",
            "    n1:",
            '    n1: "open',
            "'",
            "    - a",
            "&a",
            "    n2: *a",
            "---",
            "\t",
            "      unknown: 1",
        )
        match self.choice.randrange(6):
            case 0:
                del lines[at]
            case 1:
                lines.insert(at, self.choice.choice(odd))
            case 2:
                lines.insert(at, lines[self.choice.randrange(len(lines))])
            case 3:
                lines[at] = " " + lines[at]
            case 4:
                lines[at] = lines[at].replace("1", "2")
            case 5:
                lines[at] += self.choice.choice((" # more", "x", " |", ":", " {", '"'))
        return lines


@pytest.mark.parametrize("seed", SEEDS)
def test_pieces_mean_what_the_file_means(seed: int) -> None:
    writer = Writer(seed)
    lines = writer.file()
    reader, read = PieceReader(FILE, from_characters=0), 0
    for _ in range(EDITS):
        text = "\n".join(lines) + writer.choice.choice(("\n", ""))
        found = reader.read(text)
        if found is not None:
            whole = as_a_whole(text)
            assert whole is not None, text
            assert shown(found) == shown(whole), text
            read += 1
        lines = writer.edited(lines) or ["http:"]


def test_most_files_are_cut() -> None:
    cut = [pieces_of("\n".join(Writer(seed).file()) + "\n") for seed in SEEDS]
    assert sum(pieces is not None for pieces in cut) > len(SEEDS) * 0.8
    assert max(len(pieces) for pieces in cut if pieces) > 5


@pytest.mark.parametrize(
    "text",
    [
        "http:\n  routers: &all\n    a: {rule: Path(`/`), service: b}\n",
        "http:\n  routers:\n    a: &a {rule: Path(`/`), service: b}\n    c: *a\n",
        'http:\n  routers:\n    a: {"rule":&a x}\n',
        "---\nhttp:\n  routers:\n    a: {}\n---\nhttp: {}\n",
        "http:\n  routers:\n    a: {}\nHTTP:\n  routers:\n    b: {}\n",
        "http:\n  Routers:\n    a: {}\n",
        "http:\n  routers:\n    a: {}\n  routers:\n    b: {}\n",
        "http:\n  routers:\n    a: {}\nhttp:\n  services:\n    b: {}\n",
        "http:\n  routers:\n    a: {}\nlbcore:\n  http:\n    routers:\n      a: {}\n",
        "http:\n  routers:\n    a: {rule: '{{ env \"A\" }}'}\n",
        "http:\n  routers: {a: {}}\n",
        "http:\n  routers:\n",
        "http:\n",
        "http: {}\n",
        "http:\n  routers:\n  - a\n",
        "http:\n  routers:\n    a: {}\n   b: {}\n",
        "http:\n  routers:\n    ? a\n    : {}\n",
        "http:\n  routers:\n    a:\n\trule: x\n",
        "",
        "# nothing\n",
    ],
)
def test_what_may_mean_something_else_in_pieces_is_not_cut(text: str) -> None:
    assert PieceReader(FILE, from_characters=0).read(text) is None


def test_what_is_not_valid_as_a_piece_is_read_as_a_whole() -> None:
    names = [f"n{number}" for number in range(200)]
    first = next(
        piece
        for piece in pieces_of("http:\n  routers:\n" + "".join(f"    {n}: {{}}\n" for n in names)) or ()
        if piece.line > 3
    )
    begins = first.text.split(":")[0].strip()
    text = f'http:\n  routers:\n    a:\n      rule: "open\n    {begins}: "\n      service: s\n'
    assert [piece.line for piece in pieces_of(text) or ()] == [3, 5]
    assert PieceReader(FILE, from_characters=0).read(text) is None
    whole = as_a_whole(text)
    assert whole is not None and list(whole.model.http.routers) == ["a"]


def test_an_object_that_stands_there_twice_in_two_pieces_is_told() -> None:
    text = large(800).replace("    r700:\n", "    r1:\n")
    assert len(text) > FROM_CHARACTERS
    whole = as_a_whole(text)
    assert whole is not None and whole.broken
    config, _ = TextLoader().load({FILE_PATH: text})
    assert config.http.routers["r1"].faults


def test_objects_stay_that_are_written_where_they_were() -> None:
    loader = TextLoader()
    text = large(1000)
    before, _ = loader.load({FILE_PATH: text})
    after, _ = loader.load({FILE_PATH: text.replace("Host(`h500`)", "Host(`other`)")})
    same = [name for name, router in after.http.routers.items() if router is before.http.routers[name]]
    assert len(same) > 800
    assert after.http.routers["r500"].rule == "Host(`other`)"
    assert all(service is before.http.services[name] for name, service in after.http.services.items())


def test_objects_that_move_have_their_new_lines() -> None:
    loader = TextLoader()
    text = large(1000)
    before, _ = loader.load({FILE_PATH: text})
    after, _ = loader.load({FILE_PATH: text.replace("    r0:\n", "    # one\n    # two\n    r0:\n")})
    assert after.http.routers["r999"].place == f"{FILE_PATH}:3002"
    assert before.http.routers["r999"].place == f"{FILE_PATH}:3000"
    assert after == before
