"""One form for every instruction: recording, relabelling, import and policy all normalise it here."""

from __future__ import annotations

import re
import unicodedata

#: Longer texts are not instructions, and a policy's tokens would not hold them.
MAX_CHARACTERS = 500

#: Line ends and tabs count as white space, with every kind of space that Unicode knows.
_WHITE_SPACE = re.compile(r"[\t-\r\x85\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000 ]+")
#: Invisible characters that only steer how text is displayed: direction marks, zero-width spaces, soft hyphens. The
#: joiners U+200C and U+200D stay: they change words of some scripts, and hold emoji together.
_INVISIBLE = re.compile("[\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
_JOINERS = "\u200c\u200d"
#: Compatibility forms that only differ in width. Others carry meaning (the 2 of m², the fraction ½) and stay.
_SAFE_FORMS = ("<wide>", "<narrow>", "<noBreak>")


class InstructionError(ValueError):
    """A text cannot be an instruction. The message is one line."""


def normalise_instruction(text: str) -> str:
    """Return an instruction in its one form; an empty text stays empty, and the same text comes back unchanged.

    Composed Unicode (NFC), full-width and half-width forms as ordinary characters, any white space as one space,
    nothing invisible, no space at either end.

    Raises:
        InstructionError: it holds a control character, or has more than :data:`MAX_CHARACTERS` characters.
    """
    if len(text) > 20 * MAX_CHARACTERS:
        raise _too_long(len(text))
    text = _WHITE_SPACE.sub(" ", _INVISIBLE.sub("", "".join(map(_ordinary, text))))
    text = unicodedata.normalize("NFC", text).strip(" " + _JOINERS)
    for character in text:
        # Cs: half of a surrogate pair, which no file and no message can hold.
        if unicodedata.category(character) in ("Cc", "Cs"):
            raise InstructionError(
                f"the instruction {text[:40]!r} holds the control character U+{ord(character):04X}; remove it"
            )
    if len(text) > MAX_CHARACTERS:
        raise _too_long(len(text))
    return text


def _ordinary(character: str) -> str:
    if unicodedata.decomposition(character).startswith(_SAFE_FORMS):
        return unicodedata.normalize("NFKC", character)
    return character


def _too_long(length: int) -> InstructionError:
    return InstructionError(f"the instruction has {length} characters; give at most {MAX_CHARACTERS}")
