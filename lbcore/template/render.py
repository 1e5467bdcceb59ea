"""Rendering: the nodes of a template and its data to text, with the source line of each line of it. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lbcore.template.syntax import (
    Action,
    Block,
    Call,
    Constant,
    Dot,
    Fields,
    Function,
    Jump,
    Node,
    Operand,
    Pipe,
    Template,
    TemplateError,
    Text,
    Variable,
)
from lbcore.template.values import MISSING, Record, ValueProblem, is_true, text_of, type_of

STEP_LIMIT = 1_000_000  # nodes and calls of one rendering
SIZE_LIMIT = 64 << 20  # characters of its result
DEPTH_LIMIT = 100  # templates in templates

Functions = Mapping[str, Callable[..., Any]]
LAZY = ("and", "or")  # functions whose later arguments may not be needed
_NOTHING = object()  # no result of a command before


@dataclass(frozen=True, slots=True)
class Rendered:
    """lines  by line of the text, from the first one: the line of the template that it comes from."""

    text: str
    lines: list[int]


class _Jumped(Exception):
    """A `break` or `continue`."""

    def __init__(self, kind: str) -> None:
        self.kind = kind


def render(template: Template, data: Any, functions: Functions) -> Rendered:
    """Render with `data` as the dot. Raises TemplateError."""
    renderer = _Renderer(template, data, functions)
    try:
        renderer.walk(template.nodes, data)
    except RecursionError:
        raise TemplateError(renderer.line, "nested too deeply") from None
    return renderer.result()


class _Renderer:
    def __init__(self, template: Template, data: Any, functions: Functions) -> None:
        self.template = template
        self.functions = functions
        self.variables: list[tuple[str, list[Any]]] = [("", [data])]
        self.parts: list[tuple[str, int]] = []
        self.size = 0
        self.steps = 0
        self.depth = 0
        self.line = 1

    def result(self) -> Rendered:
        lines = [1]
        at_start = True
        for text, line in self.parts:
            if at_start:
                lines[-1] = line
            for number in range(text.count("\n")):
                lines.append(line + number + 1)
            at_start = text.endswith("\n")
        return Rendered("".join(text for text, _ in self.parts), lines)

    def put(self, text: str, line: int) -> None:
        self.size += len(text)
        if self.size > SIZE_LIMIT:
            raise TemplateError(line, f"the result is longer than {SIZE_LIMIT >> 20} MiB")
        if text:
            self.parts.append((text, line))

    def step(self, line: int) -> None:
        self.line = line
        self.steps += 1
        if self.steps > STEP_LIMIT:
            raise TemplateError(line, "rendering takes too many steps")

    def walk(self, nodes: list[Node], dot: Any) -> None:
        for node in nodes:
            self.step(node.line)
            match node:
                case Text():
                    self.put(node.text, node.line)
                case Action():
                    value = self.pipe(node.pipe, dot)
                    if not node.pipe.variables:
                        self.put(MISSING if value is None else text_of(value), node.line)
                case Block(kind="range"):
                    self.range(node, dot)
                case Block():
                    known = len(self.variables)
                    value = self.pipe(node.pipe, dot)
                    if is_true(value):
                        self.walk(node.body, value if node.kind == "with" else dot)
                    else:
                        self.walk(node.otherwise, dot)
                    del self.variables[known:]
                case Call():
                    self.call_template(node, dot)
                case Jump():
                    raise _Jumped(node.kind)

    def call_template(self, node: Call, dot: Any) -> None:
        body = self.template.named.get(node.name)
        if body is None:
            raise TemplateError(node.line, f"template {node.name!r} is not defined")
        if self.depth >= DEPTH_LIMIT:
            raise TemplateError(node.line, "templates call each other too deeply")
        data = self.pipe(node.pipe, dot) if node.pipe is not None else None
        outer, self.variables = self.variables, [("", [data])]
        self.depth += 1
        self.walk(body, data)
        self.depth -= 1
        self.variables = outer

    def range(self, node: Block, dot: Any) -> None:
        known = len(self.variables)
        # The variables of a loop are set by its elements, not by the whole.
        values = self.commands(node.pipe, dot)
        items = self.items(values, node.line)
        if not items:
            self.walk(node.otherwise, dot)
            del self.variables[known:]
            return
        names = node.pipe.variables
        for key, item in items:
            self.step(node.line)
            given = (item,) if len(names) == 1 else (key, item)
            for name, value in zip(names, given, strict=False):
                self.set(name, value, node.pipe)
            outer = len(self.variables)
            try:
                self.walk(node.body, item)
            except _Jumped as jump:
                if jump.kind == "break":
                    break
            finally:
                del self.variables[outer:]
            if node.pipe.declares:
                del self.variables[known:]
        del self.variables[known:]

    def items(self, value: Any, line: int) -> list[tuple[Any, Any]]:
        if value is None:
            return []
        if isinstance(value, list):
            return list(enumerate(value))
        if isinstance(value, dict) and not isinstance(value, Record):
            return [(key, value[key]) for key in sorted(value)]
        if isinstance(value, int) and not isinstance(value, bool):
            if value > STEP_LIMIT:
                raise TemplateError(line, "rendering takes too many steps")
            return [(number, number) for number in range(value)]
        raise TemplateError(line, f"range can't iterate over {text_of(value)}")

    def set(self, name: str, value: Any, pipe: Pipe) -> None:
        if pipe.declares:
            self.variables.append((name, [value]))
            return
        self.cell(name, pipe.line)[0] = value

    def cell(self, name: str, line: int) -> list[Any]:
        for known, cell in reversed(self.variables):
            if known == name:
                found: list[Any] = cell
                return found
        raise TemplateError(line, f"undefined variable ${name}")

    def pipe(self, pipe: Pipe, dot: Any) -> Any:
        value = self.commands(pipe, dot)
        for name in pipe.variables:
            self.set(name, value, pipe)
        return value

    def commands(self, pipe: Pipe, dot: Any) -> Any:
        value: Any = _NOTHING
        for command in pipe.commands:
            value = self.command(command, dot, pipe.line, value)
        return value

    def command(self, command: tuple[Operand, ...], dot: Any, line: int, last: Any) -> Any:
        first, *rest = command
        if isinstance(first, Function):
            return self.function(first.name, rest, dot, line, last)
        if rest or last is not _NOTHING:
            raise TemplateError(line, "can't give argument to non-function")
        if isinstance(first, Constant) and first.value is None:
            raise TemplateError(line, "nil is not a command")
        return self.operand(first, dot, line)

    def operand(self, operand: Operand, dot: Any, line: int) -> Any:
        match operand:
            case Dot():
                return dot
            case Constant():
                return operand.value
            case Variable():
                return self.cell(operand.name, line)[0]
            case Pipe():
                return self.pipe(operand, dot)
            case Function():
                return self.function(operand.name, [], dot, line, _NOTHING)
            case Fields():
                value = self.operand(operand.operand, dot, line)
                for name in operand.names:
                    value = self.field(value, name, line)
                return value

    def field(self, value: Any, name: str, line: int) -> Any:
        if isinstance(value, Record):
            if name not in value:
                raise TemplateError(line, f"there is no field {name}", "known here: " + ", ".join(sorted(value)))
            return value[name]
        if isinstance(value, dict):
            return value.get(name)
        if value is None:
            raise TemplateError(line, f"nil data; no entry for key {name!r}")
        raise TemplateError(line, f"can't evaluate field {name} in type {type_of(value)}")

    def function(self, name: str, arguments: list[Operand], dot: Any, line: int, last: Any) -> Any:
        self.step(line)
        if name in LAZY:
            return self.lazy(name, arguments, dot, line, last)
        values = [self.operand(argument, dot, line) for argument in arguments]
        if last is not _NOTHING:
            values.append(last)
        try:
            return self.functions[name](*values)
        except TypeError as error:
            raise TemplateError(line, f"wrong arguments for {name}: {_arguments(error)}") from None
        except (ValueProblem, ValueError, ArithmeticError, LookupError, AttributeError) as error:
            raise TemplateError(line, f"{name}: {error}") from None

    def lazy(self, name: str, arguments: list[Operand], dot: Any, line: int, last: Any) -> Any:
        if not arguments and last is _NOTHING:
            raise TemplateError(line, f"wrong number of arguments for {name}: want at least 1, got 0")
        value: Any = None
        for argument in arguments:
            value = self.operand(argument, dot, line)
            if is_true(value) == (name == "or"):
                return value
        return value if last is _NOTHING else last


def _arguments(error: TypeError) -> str:
    """The reason without the name of lbcore's function."""
    _, mark, text = str(error).partition("() ")
    return text if mark else str(error)
