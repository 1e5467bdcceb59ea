"""`encodedCharacters`: paths that are refused because of an encoded character in them. No I/O."""

from lbcore.config.model import Model


class EncodedCharacters(Model):
    """Other defaults than those of the entry point's section of that name: nothing is allowed."""

    allow_encoded_slash: bool = False
    allow_encoded_back_slash: bool = False
    allow_encoded_null_character: bool = False
    allow_encoded_semicolon: bool = False
    allow_encoded_percent: bool = False
    allow_encoded_question_mark: bool = False
    allow_encoded_hash: bool = False
