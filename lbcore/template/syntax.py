"""The syntax of Go's text/template: text to nodes. No I/O; source: https://pkg.go.dev/text/template."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from lbcore.errors import LbcoreError

DEPTH_LIMIT = 100  # blocks in blocks, and parentheses in parentheses
SPACE = " \t\r\n"
KEYWORDS = frozenset(["if", "else", "end", "range", "with", "define", "template", "block", "break", "continue", "nil"])


class TemplateError(LbcoreError):
    """A template cannot be parsed or rendered. `line` counts from 1."""

    def __init__(self, line: int, problem: str, hint: str = "") -> None:
        self.line, self.problem, self.hint = line, problem, hint
        super().__init__(f"line {line}: {problem}")


# Operands


@dataclass(frozen=True, slots=True)
class Dot:
    """`.`"""


@dataclass(frozen=True, slots=True)
class Constant:
    value: object


@dataclass(frozen=True, slots=True)
class Function:
    name: str


@dataclass(frozen=True, slots=True)
class Variable:
    """`$name`; `$` is the data."""

    name: str


@dataclass(frozen=True, slots=True)
class Fields:
    """`operand.A.B`."""

    operand: Operand
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pipe:
    """Commands, each of which gets the result of the one before it as its last argument.

    variables  the names to which the result goes.
    declares   whether they are new (`:=`).
    """

    commands: tuple[tuple[Operand, ...], ...]
    line: int
    variables: tuple[str, ...] = ()
    declares: bool = True


Operand = Dot | Constant | Function | Variable | Fields | Pipe


# Nodes


@dataclass(frozen=True, slots=True)
class Text:
    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Action:
    pipe: Pipe
    line: int


@dataclass(frozen=True, slots=True)
class Block:
    """`if`, `with` or `range`, as `kind` says."""

    kind: str
    pipe: Pipe
    body: list[Node]
    otherwise: list[Node]
    line: int


@dataclass(frozen=True, slots=True)
class Call:
    """`template "name" pipe`."""

    name: str
    pipe: Pipe | None
    line: int


@dataclass(frozen=True, slots=True)
class Jump:
    """`break` or `continue`."""

    kind: str
    line: int


Node = Text | Action | Block | Call | Jump


@dataclass(slots=True)
class Template:
    """The main template, and those that `define` and `block` name."""

    nodes: list[Node]
    named: dict[str, list[Node]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Token:
    """kind    word, field, variable, constant, dot, or a mark: | ( ) := = ,
    spaced  whether there is space in front of it.
    """

    kind: str
    value: object
    line: int
    spaced: bool


@dataclass(frozen=True, slots=True)
class _Piece:
    """A text, or the tokens of an action."""

    text: str
    tokens: list[_Token] | None
    line: int


_NUMBER = re.compile(
    r"[+-]?(?:0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+|(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9]+)?)"
)
_WORD = re.compile(r"[^\W\d]\w*")
_NAME = re.compile(r"\w*")
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"', "'": "'"}


def parse(text: str, functions: Collection[str], refuse: Callable[[str], tuple[str, str]]) -> Template:
    """The nodes of a template. Raises TemplateError.

    functions  the names that exist.
    refuse     returns problem and hint for a name that does not.
    """
    return _Parser(list(_Lexer(text).pieces()), functions, refuse).template()


class _Lexer:
    def __init__(self, text: str) -> None:
        self.text = text
        self.starts = [0, *(found.end() for found in re.finditer("\n", text))]

    def line(self, at: int) -> int:
        return bisect_right(self.starts, at)

    def pieces(self) -> list[_Piece]:
        """Texts and actions in turn, without the space that trim marks remove."""
        text, at, found, trims = self.text, 0, [], False
        while True:
            start = text.find("{{", at)
            end = len(text) if start < 0 else start
            begin = at
            if trims:
                while begin < end and text[begin] in SPACE:
                    begin += 1
            trims_before = (
                start >= 0 and text[start + 2 : start + 3] == "-" and text[start + 3 : start + 4] in (*SPACE,)
            )
            stop = end
            if trims_before:
                while stop > begin and text[stop - 1] in SPACE:
                    stop -= 1
            if stop > begin:
                found.append(_Piece(text[begin:stop], None, self.line(begin)))
            if start < 0:
                return found
            inside = start + (3 if trims_before else 2)
            tokens, at, trims = self.action(inside, self.line(start))
            if tokens is not None:
                found.append(_Piece("", tokens, self.line(start)))

    def action(self, at: int, line: int) -> tuple[list[_Token] | None, int, bool]:
        """The tokens of an action (None: a comment), the end of it, and whether the text behind it is trimmed."""
        text = self.text
        begin = at
        while text[begin : begin + 1] in (*SPACE,):
            begin += 1
        if text.startswith("/*", begin):
            end = text.find("*/", begin)
            if end < 0:
                raise TemplateError(line, "a comment has no end")
            rest = re.compile(r"(\s+-)?\}\}").match(text, end + 2)
            if rest is None:
                raise TemplateError(line, "a comment has to end with */}}")
            return None, rest.end(), rest[1] is not None
        tokens: list[_Token] = []
        spaced = False
        while True:
            if at >= len(text):
                raise TemplateError(line, "an action has no }}")
            if text.startswith("}}", at):
                return tokens, at + 2, False
            character = text[at]
            if character in SPACE:
                space = re.compile(r"\s+").match(text, at)
                assert space is not None
                if text.startswith("-}}", space.end()):
                    return tokens, space.end() + 3, True
                at, spaced = space.end(), True
                continue
            token, at = self.token(at, spaced)
            tokens.append(token)
            spaced = False

    def token(self, at: int, spaced: bool) -> tuple[_Token, int]:
        text, line = self.text, self.line(at)

        def made(kind: str, value: object, end: int) -> tuple[_Token, int]:
            return _Token(kind, value, line, spaced), end

        character = text[at]
        if text.startswith(":=", at):
            return made(":=", ":=", at + 2)
        if character in "|(),=":
            return made(character, character, at + 1)
        if character == '"':
            return made("constant", *self.quoted(at, line))
        if character == "`":
            end = text.find("`", at + 1)
            if end < 0:
                raise TemplateError(line, "a text in backquotes has no end")
            return made("constant", text[at + 1 : end], end + 1)
        if character == "'":
            value, end = self.quoted(at, line)
            if len(value) != 1:
                raise TemplateError(line, "a text stands in double quotes or backquotes, not in single ones")
            return made("constant", ord(value), end)
        if character == "$":
            name = _NAME.match(text, at + 1)
            assert name is not None
            return made("variable", name[0], name.end())
        number = _NUMBER.match(text, at)
        if number is not None:
            if re.match(r"\w", text[number.end() : number.end() + 1]):
                raise TemplateError(line, f"{text[at : number.end() + 1]!r} is not a number")
            return made("constant", _number(number[0]), number.end())
        if character == ".":
            name = _WORD.match(text, at + 1)
            if name is None:
                return made("dot", ".", at + 1)
            return made("field", name[0], name.end())
        word = _WORD.match(text, at)
        if word is None:
            raise TemplateError(line, f"unexpected {character!r} in an action")
        if word[0] in ("true", "false"):
            return made("constant", word[0] == "true", word.end())
        return made("word", word[0], word.end())

    def quoted(self, at: int, line: int) -> tuple[str, int]:
        """A text in quotes, with the escapes of Go, and its end."""
        text, quote, found, at = self.text, self.text[at], bytearray(), at + 1
        while True:
            character = text[at : at + 1]
            if character in ("", "\n"):
                raise TemplateError(line, "a text in quotes has no end")
            if character == quote:
                return found.decode(errors="replace"), at + 1
            if character != "\\":
                found += character.encode(errors="surrogatepass")
                at += 1
                continue
            escape = re.compile(
                r"\\(?:([abfnrtv\\\"'])|x([0-9a-fA-F]{2})|([0-7]{3})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))"
            )
            taken = escape.match(text, at)
            if taken is None:
                raise TemplateError(line, f"unknown escape {text[at : at + 2]!r}")
            plain, byte, octal, short, long = taken.groups()
            if plain:
                found += _ESCAPES[plain].encode()
            elif byte or octal:
                found.append(int(byte, 16) if byte else int(octal, 8) & 0xFF)
            else:
                code = int(short or long, 16)
                if code > 0x10FFFF:
                    raise TemplateError(line, f"no character: {taken[0]!r}")
                found += chr(code).encode(errors="replace")
            at = taken.end()


def _number(text: str) -> int | float:
    plain = text.replace("_", "")
    if not re.search(r"0[xX]", plain) and re.search(r"[.eE]", plain):
        return float(plain)
    sign, digits = (-1, plain[1:]) if plain[0] == "-" else (1, plain.lstrip("+"))
    if len(digits) > 1 and digits[0] == "0" and digits.isdigit():
        return sign * int(digits, 8) if not set(digits) & {"8", "9"} else sign * int(digits)
    return sign * int(digits, 0)


class _Parser:
    def __init__(
        self, pieces: list[_Piece], functions: Collection[str], refuse: Callable[[str], tuple[str, str]]
    ) -> None:
        self.pieces = pieces
        self.at = 0
        self.functions = functions
        self.refuse = refuse
        self.named: dict[str, list[Node]] = {}
        self.variables = [""]
        self.depth = 0
        self.loops = 0

    def template(self) -> Template:
        nodes, end = self.nodes(line=1, ends=())
        assert end is None
        return Template(nodes, self.named)

    def nodes(self, line: int, ends: tuple[str, ...]) -> tuple[list[Node], _Actions | None]:
        """The nodes up to one of the words in `ends`, and the rest of the action with that word."""
        self.depth += 1
        if self.depth > DEPTH_LIMIT:
            raise TemplateError(line, "nested too deeply")
        found: list[Node] = []
        while self.at < len(self.pieces):
            piece = self.pieces[self.at]
            self.at += 1
            if piece.tokens is None:
                found.append(Text(piece.text, piece.line))
                continue
            action = _Actions(piece.tokens, piece.line)
            word = action.keyword()
            if word in ends:
                self.depth -= 1
                return found, action
            if word in ("else", "end"):
                raise TemplateError(piece.line, f"unexpected {{{{{word}}}}}")
            node = self.node(word, action)
            if node is not None:
                found.append(node)
        if ends:
            raise TemplateError(line, "a block has no {{end}}")
        self.depth -= 1
        return found, None

    def node(self, word: str, action: _Actions) -> Node | None:
        if word in ("if", "with", "range"):
            return self.block(word, action)
        if word in ("break", "continue"):
            action.finished()
            if not self.loops:
                raise TemplateError(action.line, f"{{{{{word}}}}} outside of {{{{range}}}}")
            return Jump(word, action.line)
        if word == "template":
            name = action.name()
            pipe = None if action.is_done else self.pipe(action)
            return Call(name, pipe, action.line)
        if word in ("define", "block"):
            name = action.name()
            given = self.pipe(action) if word == "block" else None
            action.finished()
            outer, loops, self.variables, self.loops = self.variables, self.loops, [""], 0
            body, end = self.nodes(action.line, ("end",))
            assert end is not None
            end.finished()
            self.variables, self.loops = outer, loops
            self.named[name] = body
            return Call(name, given, action.line) if word == "block" else None
        return Action(self.pipe(action), action.line)

    def block(self, kind: str, action: _Actions) -> Block:
        known = len(self.variables)
        pipe = self.pipe(action, most=2 if kind == "range" else 1)
        self.loops += kind == "range"
        body, end = self.nodes(action.line, ("else", "end"))
        self.loops -= kind == "range"
        otherwise: list[Node] = []
        assert end is not None
        if end.word == "else":
            following = end.keyword()
            if following == kind and kind in ("if", "with"):
                otherwise = [self.block(following, end)]
                del self.variables[known:]
                return Block(kind, pipe, body, otherwise, action.line)
            end.finished()
            otherwise, end = self.nodes(action.line, ("end",))
            assert end is not None
        end.finished()
        del self.variables[known:]
        return Block(kind, pipe, body, otherwise, action.line)

    def pipe(self, action: _Actions, closing: str = "", most: int = 1) -> Pipe:
        """A pipe up to the end of the action, or up to `closing`."""
        variables: tuple[str, ...] = ()
        declares = True
        if not closing and (head := action.variables(most)) is not None:
            variables, declares = head
        commands = []
        while True:
            commands.append(self.command(action))
            mark = action.next_mark()
            if mark == "|":
                continue
            if mark != closing:
                raise TemplateError(action.line, f"unexpected {mark or 'end of an action'!r}")
            break
        for command in commands[1:]:
            if isinstance(command[0], Constant | Dot):
                raise TemplateError(action.line, "behind | needs a function")
        if variables and not declares:
            for name in variables:
                self.check_variable(name, action.line)
        elif variables:
            self.variables += variables
        return Pipe(tuple(commands), action.line, variables, declares)

    def check_variable(self, name: str, line: int) -> None:
        if name not in self.variables:
            raise TemplateError(line, f"undefined variable ${name}")

    def command(self, action: _Actions) -> tuple[Operand, ...]:
        operands: list[Operand] = []
        while (token := action.peek()) is not None and token.kind not in ("|", ")"):
            if operands and not token.spaced:
                raise TemplateError(action.line, f"unexpected {token.value!r} without space in front of it")
            operands.append(self.operand(action))
        if not operands:
            raise TemplateError(action.line, "missing value in an action")
        return tuple(operands)

    def operand(self, action: _Actions) -> Operand:
        token = action.take()
        line = action.line
        operand: Operand
        names: list[str] = []
        if token.kind == "(":
            self.depth += 1
            if self.depth > DEPTH_LIMIT:
                raise TemplateError(line, "nested too deeply")
            operand = self.pipe(action, closing=")")
            self.depth -= 1
        elif token.kind == "dot":
            operand = Dot()
        elif token.kind == "field":
            operand = Dot()
            names.append(str(token.value))
        elif token.kind == "variable":
            self.check_variable(str(token.value), line)
            operand = Variable(str(token.value))
        elif token.kind == "constant":
            operand = Constant(token.value)
        elif token.kind == "word" and token.value == "nil":
            operand = Constant(None)
        elif token.kind == "word" and token.value not in KEYWORDS:
            name = str(token.value)
            if name not in self.functions:
                raise TemplateError(line, *self.refuse(name))
            operand = Function(name)
        else:
            raise TemplateError(line, f"unexpected {token.value!r}")
        while (following := action.peek()) is not None and following.kind == "field" and not following.spaced:
            if isinstance(operand, Constant):
                raise TemplateError(line, f"unexpected .{following.value} behind a value")
            names.append(str(action.take().value))
        return Fields(operand, tuple(names)) if names else operand


class _Actions:
    """The tokens of one action, in order."""

    def __init__(self, tokens: list[_Token], line: int) -> None:
        self.tokens = tokens
        self.at = 0
        self.line = line
        self.word = ""

    @property
    def is_done(self) -> bool:
        return self.at >= len(self.tokens)

    def peek(self) -> _Token | None:
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def take(self) -> _Token:
        if self.is_done:
            raise TemplateError(self.line, "an action ends too early")
        self.line = self.tokens[self.at].line
        self.at += 1
        return self.tokens[self.at - 1]

    def keyword(self) -> str:
        """The keyword in front, which is taken; empty: there is none."""
        token = self.peek()
        if token is None or token.kind != "word" or token.value not in KEYWORDS or token.value == "nil":
            return ""
        self.word = str(self.take().value)
        return self.word

    def name(self) -> str:
        token = self.take()
        if token.kind != "constant" or not isinstance(token.value, str):
            raise TemplateError(self.line, f"{self.word} needs a name in quotes")
        return token.value

    def next_mark(self) -> str:
        return "" if self.is_done else str(self.take().value)

    def finished(self) -> None:
        if not self.is_done:
            raise TemplateError(self.line, f"unexpected {self.tokens[self.at].value!r} behind {self.word}")

    def variables(self, most: int) -> tuple[tuple[str, ...], bool] | None:
        """The variables in front of `:=` or `=`, which are taken; None: there are none."""
        names: list[str] = []
        at = self.at
        while at < len(self.tokens) and self.tokens[at].kind == "variable" and len(names) < 2:
            names.append(str(self.tokens[at].value))
            at += 1
            if at < len(self.tokens) and self.tokens[at].kind == ",":
                at += 1
                continue
            break
        if not names or at >= len(self.tokens) or self.tokens[at].kind not in (":=", "="):
            return None
        if len(names) > most:
            raise TemplateError(self.line, "too many variables")
        self.at = at + 1
        return tuple(names), self.tokens[at].kind == ":="
