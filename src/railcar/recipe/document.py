"""A recipe's YAML text and its plain values: reading with the line of every key, and writing.

Reads the part of YAML 1.2 that a recipe needs: `yes`, `no`, `on`, `off` and dates are text, `1e-4` is a number. Tags,
anchors and aliases are refused, so that no text can run code or grow when it is read. Does not know which keys exist.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from railcar.errors import Fault, RecipeError

MAX_BYTES: Final = 1_000_000
MAX_DEPTH: Final = 20

Path = tuple[str | int, ...]

_INT = re.compile(r"[-+]?[0-9]+")
_HEX_OR_OCTAL = re.compile(r"0x[0-9a-fA-F]+|0o[0-7]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}


@dataclass
class Document:
    """Plain values, the line (from 1) of each key's path, and the faults seen so far. `where` names the file."""

    where: str
    values: Any
    lines: dict[Path, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def place(self, path: Path) -> str:
        """`file:line` of `path`, or of the nearest key above it; "" for what does not come from a file."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.lines:
                return f"{self.where}:{self.lines[path[:length]]}" if self.where else ""
        return self.where


def read_document(content: bytes | str, where: str) -> Document:
    """The values of YAML `content`. Raises `RecipeError` for what is no YAML; duplicate keys are left in `faults`."""
    text = decode(content, where)
    document = Document(where, None)
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        events = yaml.parse(text, Loader=loader)
        _Builder(document).read_stream(events)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark is not None else ""
        raise _fault(f"{where}{line}", f"not YAML: {error.problem or error.context}", _hint_of(error, text)) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position if isinstance(error.position, int) else 0) + 1
        raise _fault(f"{where}:{line}", "has a character that YAML does not allow", "save it as plain text") from error
    return document


def decode(content: bytes | str, where: str) -> str:
    """The text of a file. Raises `RecipeError` for what is no UTF-8 or larger than a recipe can be."""
    if len(content) > MAX_BYTES:
        raise _fault(where, "is larger than 1 MB, which no recipe is", "name a recipe, not a data file")
    if isinstance(content, str):
        return content
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _fault(f"{where}:{line}", "is not UTF-8 text", "save the file as UTF-8") from error


def _hint_of(error: yaml.MarkedYAMLError, text: str) -> str:
    lines = text.splitlines()
    mark = error.problem_mark
    if mark is not None and mark.line < len(lines) and "\t" in lines[mark.line]:
        return "indent with spaces, not with tabs"
    if "mapping values are not allowed" in (error.problem or ""):
        return "put text that has a colon in quotes, and give each key its own line"
    return "`railcar recipe show mnist` prints a recipe to start from"


def _fault(where: str, what: str, hint: str) -> RecipeError:
    return RecipeError(faults=(Fault(where, "", what, hint),))


class _Builder:
    """Builds plain values from the events of the parser: nothing is ever constructed from a tag."""

    def __init__(self, document: Document) -> None:
        self.document = document

    def read_stream(self, events: Iterator[Any]) -> None:
        n_documents = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                n_documents += 1
                if n_documents > 1:
                    raise self._refuse(
                        event, "a second document begins here", "keep one recipe in a file: remove `---`"
                    )
            elif isinstance(event, yaml.NodeEvent):
                self.document.values = self._value(event, events, ())

    def _value(self, event: Any, events: Iterator[Any], path: Path) -> Any:
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            sign = f"{'*' if isinstance(event, yaml.AliasEvent) else '&'}{event.anchor}"
            raise self._refuse(event, f"{sign}: anchors and aliases are not read", "write the value out", path)
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            raise self._refuse(event, f"{tag}: tags are not read", "write the plain value", path)
        if len(path) > MAX_DEPTH:
            raise self._refuse(event, f"nested more than {MAX_DEPTH} levels deep", "no recipe needs that")
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(events, path)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(events, path)
        return event.value if event.style else self._plain(event, path)

    def _mapping(self, events: Iterator[Any], path: Path) -> dict[str, Any]:
        values: dict[str, Any] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise self._refuse(event, "a key must be a word", "write `key: value`", path)
            key = event.value
            line = event.start_mark.line + 1
            here = (*path, key)
            if key in values:
                first = self.document.lines[here]
                self._add(line, here, f"set twice: first on line {first}", "keep one of them")
            self.document.lines[here] = line
            if event.anchor is not None or event.tag is not None:
                self._value(event, events, here)
            values[key] = self._value(next(events), events, here)
        return values

    def _sequence(self, events: Iterator[Any], path: Path) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            here = (*path, len(items))
            self.document.lines[here] = event.start_mark.line + 1
            items.append(self._value(event, events, here))
        return items

    def _plain(self, event: Any, path: Path) -> Any:
        try:
            return read_plain_scalar(event.value)
        except ValueError:
            raise self._refuse(event, "a number of more than 4,000 digits", "write a smaller one", path) from None

    def _refuse(self, event: Any, what: str, hint: str, path: Path = ()) -> RecipeError:
        fault = Fault(f"{self.document.where}:{event.start_mark.line + 1}", dotted(path), what, hint)
        return RecipeError(faults=(*self.document.faults, fault))

    def _add(self, line: int, path: Path, what: str, hint: str) -> None:
        self.document.faults.append(Fault(f"{self.document.where}:{line}", dotted(path), what, hint))


def read_plain_scalar(text: str) -> Any:
    """An unquoted YAML word: None, bool, int, float, else the text itself. `ValueError` for absurdly long numbers."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _HEX_OR_OCTAL.fullmatch(text):
        return int(text, 0)
    return float(text) if _FLOAT.fullmatch(text) else text


def dotted(path: Path) -> str:
    return ".".join(str(part) for part in path)


_SAFE_WORD = re.compile(r"[A-Za-z0-9_./+-][A-Za-z0-9_./+ -]*(?<! )")


def write_scalar(value: Any) -> str:
    """`value` as YAML that `read_document` reads back as the same, and that YAML 1.1 programs read alike."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        mantissa, e, exponent = repr(value).partition("e")
        return f"{mantissa}.0e{exponent}" if e and "." not in mantissa else repr(value)
    if isinstance(value, int):
        return str(value)
    plain = _SAFE_WORD.fullmatch(value) and isinstance(read_plain_scalar(value), str) and not value.startswith("-")
    return value if plain and value.lower() not in ("yes", "no", "on", "off", "y", "n") else _quoted(value)


def write_flow(value: Any) -> str:
    """`value` on one line: `[32, 64]`, `{last: 500}`, `mnist`."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{write_scalar(key)}: {write_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(write_flow(item) for item in value) + "]"
    return write_scalar(value)


def _quoted(text: str) -> str:
    def escape(character: str) -> str:
        if character in '"\\':
            return f"\\{character}"
        code = ord(character)
        if character.isprintable():
            return character
        return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

    return '"' + "".join(escape(character) for character in text) + '"'
