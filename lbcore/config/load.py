"""Configuration from files: text to tree to model, with every problem at once and the line it stands on."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar

from lbcore.config.decode import decode, keys_of
from lbcore.config.dynamic import DynamicConfig, HttpConfig
from lbcore.config.model import Model
from lbcore.config.static import StaticConfig
from lbcore.config.tcp import TcpConfig
from lbcore.config.tree import parse
from lbcore.errors import ConfigError, Problem

M = TypeVar("M", bound=Model)
SUFFIXES = frozenset({".yml", ".yaml", ".toml"})
FILE_LIMIT_BYTES = 64 << 20


def load_static(path: str | os.PathLike[str]) -> StaticConfig:
    """The static configuration in a file. Raises ConfigError."""
    return load_static_with_warnings(path)[0]


def load_static_with_warnings(path: str | os.PathLike[str]) -> tuple[StaticConfig, list[Problem]]:
    """The same, with what is ignored."""
    return _load(Path(path), StaticConfig)


def load_dynamic(path: str | os.PathLike[str]) -> tuple[DynamicConfig, list[Problem]]:
    """The dynamic configuration in a file, or in all files of a directory, and the warnings. Raises ConfigError.

    In a directory the first file, in name order, that gives an object its name wins; the others are warned about.
    """
    path = Path(path)
    if not path.is_dir():
        return _load(path, DynamicConfig)
    return _load_files({file: partial(read_text, file) for file in _files(path)})


def load_texts(texts: Mapping[Path, str]) -> tuple[DynamicConfig, list[Problem]]:
    """`load_dynamic` of files whose texts were read already, in name order. No I/O."""
    return _load_files({file: partial(str, text) for file, text in texts.items()})


def _load_files(files: Mapping[Path, Callable[[], str]]) -> tuple[DynamicConfig, list[Problem]]:
    configs: list[tuple[Path, DynamicConfig]] = []
    problems: list[Problem] = []
    warnings: list[Problem] = []
    for file, read in files.items():
        try:
            config, ignored = _decode(read(), file, DynamicConfig)
        except ConfigError as error:
            problems += error.problems
        else:
            configs.append((file, config))
            warnings += ignored
    if problems:
        raise ConfigError(problems)
    return (configs[0][1] if len(configs) == 1 else _merge(configs, warnings)), warnings


def parse_static(text: str, name: str = "static.yml") -> tuple[StaticConfig, list[Problem]]:
    """From text; the name says how it is written (.yml, .yaml, .toml) and where problems are."""
    return decode(parse(text, name, toml=name.lower().endswith(".toml")), StaticConfig)


def parse_dynamic(text: str, name: str = "dynamic.yml") -> tuple[DynamicConfig, list[Problem]]:
    """From text; the name says how it is written (.yml, .yaml, .toml) and where problems are."""
    return decode(parse(text, name, toml=name.lower().endswith(".toml")), DynamicConfig)


def read_text(path: Path) -> str:
    """A configuration file's text. Raises ConfigError."""
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError([Problem("", f"unknown kind of file {path.suffix!r}", "use .yml, .yaml or .toml", str(path))])
    try:
        # A pipe would wait for its writer: opened so, it is seen for what it is.
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ConfigError([Problem("", "is not a file", "pipes, sockets and devices are not read", str(path))])
            if status.st_size > FILE_LIMIT_BYTES:
                raise ConfigError([Problem("", f"larger than {FILE_LIMIT_BYTES >> 20} MiB", "", str(path))])
            return file.read(FILE_LIMIT_BYTES).decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except OSError as error:
        raise ConfigError([Problem("", f"cannot be read: {error.strerror}", "", str(path))]) from None
    except UnicodeDecodeError as error:
        raise ConfigError([Problem("", f"not UTF-8: {error.reason} at byte {error.start}", "", str(path))]) from None


def _load(path: Path, model: type[M]) -> tuple[M, list[Problem]]:
    return _decode(read_text(path), path, model)


def _decode(text: str, path: Path, model: type[M]) -> tuple[M, list[Problem]]:
    return decode(parse(text, str(path), toml=path.suffix.lower() == ".toml"), model)


def _files(directory: Path) -> list[Path]:
    found = []
    for folder, folders, names in os.walk(directory):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [
            Path(folder, name) for name in names if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES
        ]
    return sorted(found)


def _merge(configs: list[tuple[Path, DynamicConfig]], warnings: list[Problem]) -> DynamicConfig:
    parts: dict[str, type[Model]] = {"http": HttpConfig, "tcp": TcpConfig}
    merged: dict[str, dict[str, dict[str, Model]]] = {
        part: {kind: {} for kind in model.model_fields} for part, model in parts.items()
    }
    for file, config in configs:
        for part, kinds in merged.items():
            for kind, objects in kinds.items():
                for name, thing in getattr(getattr(config, part), kind).items():
                    if name in objects:
                        path = f"{part}.{parts[part].model_fields[kind].alias}.{name}"
                        warnings.append(Problem(path, "already defined in another file, ignored", "", str(file)))
                    else:
                        objects[name] = thing
    return DynamicConfig(http=HttpConfig.model_validate(merged["http"]), tcp=TcpConfig.model_validate(merged["tcp"]))


def is_static(path: Path) -> bool:
    """Whether a file holds a static configuration, by its keys. Raises ConfigError."""
    if path.is_dir():
        return False
    content = parse(read_text(path), str(path), toml=path.suffix.lower() == ".toml").content
    static = {key.lower() for key in keys_of(StaticConfig)} | {key.lower() for key in StaticConfig.unsupported}
    dynamic = {key.lower() for key in keys_of(DynamicConfig)} | {key.lower() for key in DynamicConfig.unsupported}
    found = {key.lower() for key in content}
    return len(found & static) > len(found & dynamic)
