"""Large YAML files, of which only the pieces that have changed are read again. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from lbcore.config.cut import LAYERS, TLS, Piece, pieces_of
from lbcore.config.decode import Decoded, decode, in_order
from lbcore.config.dynamic import DynamicConfig
from lbcore.config.model import Object
from lbcore.config.tls import TlsConfig
from lbcore.config.tree import NODE_LIMIT
from lbcore.errors import ConfigError

FROM_CHARACTERS = 32 << 10  # smaller files are read as a whole


@dataclass(frozen=True, slots=True)
class _Known:
    """A piece that was read. `elements`: their number, of which a file may have NODE_LIMIT."""

    piece: Piece
    decoded: Decoded[DynamicConfig]
    elements: int

    @property
    def objects(self) -> dict[str, Object]:
        found: dict[str, Object] = getattr(getattr(self.decoded.model, self.piece.layer), self.piece.kind)
        return found


class PieceReader:
    """Reads a file again and again.

    from_characters  shorter texts are read as a whole.
    """

    def __init__(self, file: str, from_characters: int = FROM_CHARACTERS) -> None:
        self._file = file
        self._from_characters = from_characters
        self._known: dict[tuple[str, str], _Known] = {}  # by head and text

    def read(self, text: str) -> Decoded[DynamicConfig] | None:
        """The configuration in a text of YAML, as `decode` gives it; None: read it as a whole.

        Objects of a piece that has not changed, and has not moved, are the same objects.
        """
        pieces = pieces_of(text) if len(text) >= self._from_characters else None
        try:
            found = [self._read(piece) for piece in pieces or ()]
        except ConfigError:  # the problems that it has with the rest of the file around it are to be told
            found = []
        self._known = {(each.piece.head, each.piece.text): each for each in found}
        whole = _joined(found) if sum(each.elements for each in found) <= NODE_LIMIT else None
        if whole is None:
            self._known = {}
        return whole

    def _read(self, piece: Piece) -> _Known:
        known = self._known.get((piece.head, piece.text))
        if known is not None and known.piece.line == piece.line:
            return known
        if known is not None and piece.kind and not known.decoded.broken and not known.decoded.warnings:
            return self._moved(known, piece)
        tree = piece.tree(self._file)
        decoded = decode(tree, DynamicConfig)
        return _Known(piece, decoded, len(tree.lines))

    def _moved(self, known: _Known, piece: Piece) -> _Known:
        """A piece that has other lines above it. Of what was read only the places change."""
        shift = piece.line - known.piece.line
        objects: dict[str, Any] = {}
        for name, thing in known.objects.items():
            file, _, line = thing.place.rpartition(":")
            objects[name] = thing.model_copy(update={"place": f"{file}:{int(line) + shift}"})
        kinds: dict[str, Any] = {piece.kind: objects}
        layers: dict[str, Any] = {piece.layer: LAYERS[piece.layer].model_construct(**kinds)}
        return _Known(piece, replace(known.decoded, model=DynamicConfig.model_construct(**layers)), known.elements)


def _joined(pieces: list[_Known]) -> Decoded[DynamicConfig] | None:
    """One configuration of all pieces; None if there are none, or if an object stands there twice."""
    layers: dict[str, dict[str, dict[str, Object]]] = {}
    tls = TlsConfig()
    for each in pieces:
        if each.piece.kind:
            objects = layers.setdefault(each.piece.layer, {}).setdefault(each.piece.kind, {})
            known = len(objects)
            objects |= each.objects
            if len(objects) < known + len(each.objects):
                return None
        else:
            tls = each.decoded.model.tls
    if not pieces:
        return None
    model = DynamicConfig.model_validate({**{name: LAYERS[name](**kinds) for name, kinds in layers.items()}, TLS: tls})
    broken = in_order([problem for each in pieces for problem in each.decoded.broken])
    warnings = in_order([problem for each in pieces for problem in each.decoded.warnings])
    return Decoded(model, broken, warnings, lambda path: None)
