"""Loading configuration from files: text to tree to model, with all problems at once, each with its line."""

from __future__ import annotations

import codecs
import json
import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, TypeVar

from lbcore.config.decode import Decoded, Elsewhere, decode, known_to
from lbcore.config.dynamic import DynamicConfig, HttpConfig
from lbcore.config.lines import Lines, split_place
from lbcore.config.lint import static_notes
from lbcore.config.model import Model, Object
from lbcore.config.pieces import PieceReader
from lbcore.config.portable import foreign
from lbcore.config.static import StaticConfig
from lbcore.config.tcp import TcpConfig
from lbcore.config.tls import TlsConfig
from lbcore.config.tree import Path as KeyPath
from lbcore.config.tree import Tree, parse
from lbcore.config.udp import UdpConfig
from lbcore.errors import ConfigError, Problem

M = TypeVar("M", bound=Model)
SUFFIXES = frozenset({".yml", ".yaml", ".toml"})
FILE_LIMIT_BYTES = 64 << 20
TOP_LEVEL = re.compile(r"^\[*([A-Za-z]+)", re.MULTILINE)  # keys of YAML and TOML
STATIC_KEYS = frozenset(known_to(StaticConfig))
DYNAMIC_KEYS = frozenset(known_to(DynamicConfig))
_ELSEWHERE: dict[type[Model], Elsewhere] = {
    StaticConfig: Elsewhere(
        DYNAMIC_KEYS - STATIC_KEYS,
        "dynamic configuration, ignored in a static file",
        "it is read from the file that providers.file names, which may be this one",
    ),
    DynamicConfig: Elsewhere(
        STATIC_KEYS - DYNAMIC_KEYS,
        "static configuration, ignored in a dynamic file",
        "it is read from the file that --config names",
    ),
}


@dataclass(slots=True)
class Loaded:
    """A dynamic configuration, and the problems found in its files.

    broken    problems that disable single objects, whose models have them, too.
    warnings  ignored keys, and missing features without which lbcore runs.
    lines     by file name: a function from the path of an element to its line.
    """

    config: DynamicConfig
    broken: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    lines: Lines = field(default_factory=Lines)


def load_static(path: str | os.PathLike[str]) -> StaticConfig:
    """The static configuration in a file. Raises ConfigError."""
    return load_static_with_warnings(path)[0]


def load_static_with_warnings(path: str | os.PathLike[str]) -> tuple[StaticConfig, list[Problem]]:
    """`load_static`, with warnings: ignored keys, missing features, and the entry points that cannot run for that."""
    path = Path(path)
    tree = _tree(path, read_text(path), templates=False)
    if _is_blank(tree):
        raise ConfigError([Problem("", "no configuration in this file", "set entryPoints and providers", str(path))])
    decoded = decode(tree, StaticConfig, _ELSEWHERE[StaticConfig])
    file, warnings = decoded.model.providers.file, static_notes(decoded, tree.file)
    if file is not None and file.filename and Path(file.filename).absolute() == path.absolute():
        warnings = [warning for warning in warnings if _ELSEWHERE[StaticConfig].text not in warning.problem]
    return decoded.model.with_lines(Lines({tree.file: decoded.line})), warnings


def load_dynamic(path: str | os.PathLike[str]) -> tuple[DynamicConfig, list[Problem]]:
    """The dynamic configuration in a file, or in all files of a directory, and the warnings. Raises ConfigError.

    If several files of a directory define an object, the first one in the order of names wins, with a warning. An
    object that could not be read is included, with its `Object.faults`.
    """
    loaded = load_objects(path)
    return loaded.config, loaded.warnings


def load_objects(path: str | os.PathLike[str]) -> Loaded:
    """`load_dynamic`, with all problems of objects and with lines."""
    path = Path(path)
    if not is_folder(path):
        decoded = _decoded(path, read_text(path))
        return Loaded(decoded.model, decoded.broken, decoded.warnings, Lines({str(path): decoded.line}))
    return _load_files({file: partial(_read, file) for file in _files(path)})


def load_texts(texts: Mapping[Path, str]) -> tuple[DynamicConfig, list[Problem]]:
    """`load_dynamic` of files whose texts were read already, in name order. No I/O.

    What is wrong with certificates, options and stores stands before the warnings: no object has it that is built.
    Where things are written is found out when it is asked for.
    """
    return TextLoader().load(texts)


class TextLoader:
    """Loads files again and again. One whose text is what it was is not read again, unless it has templates, which may
    say something else: its objects are the same. Of a large one, objects stay that are written where they were."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[str, Decoded[DynamicConfig]]] = {}
        self._readers: dict[Path, PieceReader] = {}

    def load(self, texts: Mapping[Path, str]) -> tuple[DynamicConfig, list[Problem]]:
        """See `load_texts`."""
        self._known = {file: known for file, known in self._known.items() if texts.get(file) == known[0]}
        self._readers = {file: self._readers.get(file) or PieceReader(str(file)) for file in texts}
        loaded = _load_files({file: partial(self._decoded, file, text) for file, text in texts.items()})
        lines = Lines({str(file): partial(_line_in, file, text) for file, text in texts.items()})
        of_tls = [problem for problem in loaded.broken if problem.object.startswith("tls.")]
        return loaded.config.with_lines(lines), [*of_tls, *loaded.warnings]

    def _decoded(self, file: Path, text: str) -> Decoded[DynamicConfig]:
        known = self._known.get(file)
        if known is not None:
            return known[1]
        in_pieces = None if _is_toml(file) else self._readers[file].read(text)
        # The lines of all elements would need as much memory as the elements.
        decoded = replace(in_pieces or _decoded(file, text), line=partial(_line_in, file, text))
        if "{{" not in text:
            self._known[file] = text, decoded
        return decoded


def _line_in(file: Path, text: str, path: KeyPath) -> int | None:
    return _places(file, text)(path)


@lru_cache(maxsize=1)  # consecutive problems are mostly in one file
def _places(file: Path, text: str) -> Callable[[KeyPath], int | None]:
    try:
        return _decoded(file, text).line
    except ConfigError:
        return lambda path: None


def _read(file: Path) -> Decoded[DynamicConfig]:
    return _decoded(file, read_text(file))


def _load_files(files: Mapping[Path, Callable[[], Decoded[DynamicConfig]]]) -> Loaded:
    configs: list[DynamicConfig] = []
    problems: list[Problem] = []
    loaded = Loaded(DynamicConfig())
    for file, read in files.items():
        try:
            decoded = read()
        except ConfigError as error:
            problems += error.problems
            loaded.warnings += error.warnings
        else:
            configs.append(decoded.model)
            loaded.broken += decoded.broken
            loaded.warnings += decoded.warnings
            loaded.lines[str(file)] = decoded.line
    if problems:
        raise ConfigError([*problems, *loaded.broken], loaded.warnings)
    if len(configs) == 1:
        loaded.config = configs[0]
        return loaded
    known = len(loaded.warnings)
    loaded.config = _merge(configs, loaded.warnings)
    # What is wrong with an object that is ignored keeps nothing from running.
    ignored = {(problem.path, problem.file) for problem in loaded.warnings[known:]}
    loaded.broken = [problem for problem in loaded.broken if (problem.object, problem.file) not in ignored]
    return loaded


def foreign_to_traefik(path: str | os.PathLike[str], model: type[Model]) -> list[Problem]:
    """What Traefik would refuse of a file, or of all files of a directory: see `lbcore.config.portable`."""
    path = Path(path)
    files = _files(path) if is_folder(path) else [path]
    trees = (_tree(file, read_text(file), templates=model is DynamicConfig) for file in files)
    return [problem for tree in trees for problem in foreign(tree, model)]


def parse_static(text: str, name: str = "static.yml") -> tuple[StaticConfig, list[Problem]]:
    """A configuration from text. The name gives the format (.yml, .yaml, .toml), and is part of problems."""
    tree = parse(text, name, toml=name.lower().endswith(".toml"), templates=False)
    decoded = decode(tree, StaticConfig, _ELSEWHERE[StaticConfig])
    return decoded.model.with_lines(Lines({name: decoded.line})), static_notes(decoded, name)


def parse_dynamic(text: str, name: str = "dynamic.yml") -> tuple[DynamicConfig, list[Problem]]:
    """A configuration from text. The name gives the format (.yml, .yaml, .toml), and is part of problems."""
    tree = parse(text, name, toml=name.lower().endswith(".toml"))
    decoded = decode(tree, DynamicConfig, _ELSEWHERE[DynamicConfig])
    return decoded.model, decoded.warnings


def static_of(content: Mapping[str, Any]) -> StaticConfig:
    """A configuration from a dict with the contents of its file. Raises ConfigError; TypeError for other data."""
    return decode(_plain(content, "static.yml"), StaticConfig, _ELSEWHERE[StaticConfig]).model


def dynamic_of(content: Mapping[str, Any]) -> DynamicConfig:
    """A configuration from a dict with the contents of its file. Raises ConfigError; TypeError for other data."""
    return decode(_plain(content, "dynamic.yml"), DynamicConfig, _ELSEWHERE[DynamicConfig]).model


def _plain(content: Mapping[str, Any], name: str) -> Tree:
    return parse(json.dumps(dict(content), ensure_ascii=False), name, toml=False, templates=False)


def is_folder(path: Path) -> bool:
    """Whether a path leads to a directory, as far as that can be seen; `read_text` says what is wrong with others."""
    try:
        return path.is_dir()
    except OSError:  # the name is too long, or what is around it may not be entered
        return False


def read_text(path: Path) -> str:
    """A configuration file's text. Raises ConfigError."""
    try:
        # Opening a pipe or a device could block: refuse it by its kind, and open without blocking.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise ConfigError([_unreadable(path, error)]) from None
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise ConfigError([Problem("", "is a directory", "name a file", str(path))])
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError([Problem("", "is not a file", "pipes, sockets and devices are not read", str(path))])
        if path.suffix.lower() not in SUFFIXES:
            hint = "use .yml, .yaml or .toml"
            raise ConfigError([Problem("", f"unknown kind of file {path.suffix!r}", hint, str(path))])
        if status.st_size > FILE_LIMIT_BYTES:
            raise ConfigError([Problem("", f"larger than {FILE_LIMIT_BYTES >> 20} MiB", "", str(path))])
        try:
            content = file.read(FILE_LIMIT_BYTES)
            # As in Traefik, YAML may be UTF-16 by its first two bytes, as some editors and shells of Windows write it.
            is_wide = content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) and not _is_toml(path)
            text = content.decode("utf-16" if is_wide else "utf-8-sig")
            return text.replace("\r\n", "\n").replace("\r", "\n")
        except OSError as error:
            raise ConfigError([_unreadable(path, error)]) from None
        except UnicodeDecodeError as error:
            text = f"not {error.encoding.upper().removesuffix('-SIG')}: {error.reason} at byte {error.start}"
            raise ConfigError([Problem("", text, "", str(path))]) from None


def _unreadable(path: Path, error: OSError) -> Problem:
    if not isinstance(error, FileNotFoundError):
        return Problem("", f"cannot be read: {error.strerror}", "", str(path))
    folder = path.absolute().parent
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    hint = f"looked for {path.absolute()}"
    if folder != path.absolute().parent:
        hint += f"; of that, {folder} is there"
    return Problem("", "not there", hint, str(path))


def _tree(path: Path, text: str, *, templates: bool) -> Tree:
    return parse(text, str(path), toml=_is_toml(path), templates=templates)


def _is_toml(path: Path) -> bool:
    return path.suffix.lower() == ".toml"


def _decoded(path: Path, text: str) -> Decoded[DynamicConfig]:
    return decode(_tree(path, text, templates=True), DynamicConfig, _ELSEWHERE[DynamicConfig])


def _files(directory: Path) -> list[Path]:
    found = []
    for folder, folders, names in os.walk(directory):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [
            Path(folder, name) for name in names if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES
        ]
    return sorted(found)


def _merge(configs: list[DynamicConfig], warnings: list[Problem]) -> DynamicConfig:
    parts: dict[str, type[Model]] = {"http": HttpConfig, "tcp": TcpConfig, "udp": UdpConfig}
    merged: dict[str, dict[str, dict[str, Object]]] = {
        part: {kind: {} for kind in model.model_fields} for part, model in parts.items()
    }
    for config in configs:
        for part, kinds in merged.items():
            for kind, objects in kinds.items():
                for name, thing in getattr(getattr(config, part), kind).items():
                    if name in objects:
                        path = f"{part}.{parts[part].model_fields[kind].alias}.{name}"
                        warnings.append(_twice(path, thing.place, objects[name].place))
                    else:
                        objects[name] = thing
    return DynamicConfig(
        http=HttpConfig.model_validate(merged["http"]),
        tcp=TcpConfig.model_validate(merged["tcp"]),
        udp=UdpConfig.model_validate(merged["udp"]),
        tls=_merge_tls([config.tls for config in configs], warnings),
    )


def _merge_tls(configs: list[TlsConfig], warnings: list[Problem]) -> TlsConfig:
    merged: dict[str, dict[str, Object]] = {"options": {}, "stores": {}}
    for config in configs:
        for kind, objects in merged.items():
            for name, thing in getattr(config, kind).items():
                if name in objects:
                    warnings.append(_twice(f"tls.{kind}.{name}", thing.place, objects[name].place))
                else:
                    objects[name] = thing
    certificates = [certificate for config in configs for certificate in config.certificates]
    return TlsConfig.model_validate({"certificates": certificates, **merged})


def _twice(path: str, place: str, first: str) -> Problem:
    file, line = split_place(place)
    return Problem(path, f"already defined at {first}, ignored", "", file or place, line, "warning")


def is_blank(path: Path) -> bool:
    """Whether a file can be read, and is empty but for comments."""
    try:
        tree = _tree(path, read_text(path), templates=False)
    except ConfigError:
        return False
    return _is_blank(tree)


def _is_blank(tree: Tree) -> bool:
    return not tree.fatal and all(value is None for value in tree.content.values())


def is_static(path: Path) -> bool:
    """Whether a file holds a static configuration: it does when it has any key of one. Raises ConfigError.

    Also of a file that cannot be parsed, as far as lines begin with keys.
    """
    if is_folder(path):
        return False
    text = read_text(path)
    try:
        keys: Iterable[str] = _tree(path, text, templates=False).content
    except ConfigError:
        keys = TOP_LEVEL.findall(text)
    return any(key.lower() in STATIC_KEYS for key in keys)
