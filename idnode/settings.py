"""Where settings come from: a flag wins over the environment, that over the TOML file, that over the default.

One name each: ``listen.udp_port`` is ``--set listen.udp_port=2642``, ``IDNODE_LISTEN_UDP_PORT=2642`` and, in the file,
``udp_port = 2642`` under ``[listen]``. What may be absent takes the text ``none`` in all three, since TOML has no null.
In the file a value must have its TOML type; elsewhere it is text: lists are separated by commas, or in TOML's brackets.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from idnode.config import NodeConfig

ENV_START: Final = "IDNODE_"
NONE: Final = "none"
SHOWN_CHARACTERS_MAX: Final = 60
UNITS: Final = {
    "_octets_per_s": "octets per second",
    "_per_s": "per second",
    "_octets": "octets",
    "_ms": "milliseconds",
    "_s": "seconds",
}
"""End of a name -> its unit; the first that fits."""


class SettingsWrong(ValueError):
    """Settings that cannot be used; each of ``problems`` names the place, the setting and what to write instead."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: its dotted ``name``, and what pydantic knows of it."""

    name: str
    info: FieldInfo

    @property
    def env(self) -> str:
        return ENV_START + self.name.upper().replace(".", "_")

    @property
    def description(self) -> str:
        return self.info.description or ""

    @property
    def default(self) -> Any:
        return self.info.get_default(call_default_factory=True)

    @property
    def adapter(self) -> TypeAdapter[Any]:
        annotated: Any = Annotated[self.info.annotation, self.info]
        return TypeAdapter(annotated)

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON schema without the null, and whether null was there under ``nullable``."""
        schema = self.adapter.json_schema()
        schema.pop("description", None)  # of the setting; what a value is stands further in
        kinds = schema.get("anyOf", [schema])
        found = next((kind for kind in kinds if kind.get("type") != "null"), schema)
        return {**found, "nullable": any(kind.get("type") == "null" for kind in kinds)}

    @property
    def expected(self) -> str:
        """For people: ``a number of seconds, above 0, at most 900``."""
        schema = self.schema
        unit = next((unit for end, unit in UNITS.items() if self.name.endswith(end)), "")
        return phrase(schema, unit) + (f", or {NONE}" if schema["nullable"] else "")


def phrase(schema: Mapping[str, Any], unit: str = "") -> str:
    """What a JSON schema asks for, in words."""
    if "enum" in schema:
        return "one of " + ", ".join(map(str, schema["enum"]))
    kind = schema.get("type")
    if kind == "array":
        inner = schema.get("items", {})
        return f"a list, each {phrase(inner)}"
    if kind == "string":
        return str(schema.get("description") or ("a path" if schema.get("format") == "path" else "text"))
    text = _NAMES.get(str(kind), "a value") + (f" ({unit})" if unit and kind in ("integer", "number") else "")
    if "minimum" in schema and "maximum" in schema:
        return f"{text}, {schema['minimum']} to {schema['maximum']}"
    for bound, words in (("exclusiveMinimum", "above"), ("minimum", "at least"), ("maximum", "at most")):
        if bound in schema:
            text += f", {words} {schema[bound]:g}"
    return text


_NAMES: Final = {"integer": "a whole number", "number": "a number", "boolean": "true or false", "object": "a table"}


def _walk(model: type[BaseModel], start: str = "") -> Iterator[Setting]:
    for name, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from _walk(info.annotation, f"{start}{name}.")
        else:
            yield Setting(start + name, info)


SETTINGS: Final[dict[str, Setting]] = {setting.name: setting for setting in _walk(NodeConfig)}
BY_ENV: Final[dict[str, Setting]] = {setting.env: setting for setting in SETTINGS.values()}
SECTIONS: Final[dict[str, type[BaseModel]]] = {
    name: info.annotation
    for name, info in NodeConfig.model_fields.items()
    if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel)
}


class Given(NamedTuple):
    """A value somebody gave. ``place`` is for people: a file's name, ``environment`` or ``--set``."""

    setting: Setting
    kind: Literal["file", "environment", "flag"]
    place: str
    value: Any


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration, and by setting where its value comes from; what is missing in ``origins`` is the default."""

    config: NodeConfig
    origins: Mapping[str, Given] = field(default_factory=dict)

    def value(self, name: str) -> Any:
        found: Any = self.config
        for part in name.split("."):
            found = getattr(found, part)
        return found

    def origin(self, name: str) -> str:
        """``default``, ``file node.toml``, ``environment IDNODE_NAME`` or ``flag --set name``."""
        given = self.origins.get(name)
        if given is None:
            return "default"
        return f"{given.kind} {given.place if given.kind == 'file' else _subject(given.kind, given.setting)}"


def _subject(kind: str, setting: Setting) -> str:
    return {"environment": setting.env, "flag": f"--set {setting.name}"}.get(kind, setting.name)


def suggestion(name: str, known: Iterable[str]) -> str:
    """`` - did you mean X?``, or where the list is."""
    known = list(known)
    last = name.rpartition(".")[2]
    same = [each for each in known if each.rpartition(".")[2] == last]
    close = same or difflib.get_close_matches(name, known, 1)
    if not close:  # the section may be the wrong one, and the key misspelt
        by_last = {each.rpartition(".")[2]: each for each in known}
        close = [by_last[each] for each in difflib.get_close_matches(last, by_last, 1)]
    return f"did you mean {close[0]}?" if close else "`idnode config show` lists all settings"


def from_file(place: str, octets: bytes, problems: list[str]) -> list[Given]:
    """What a TOML file gives; ``problems`` collects what is wrong with it."""
    try:
        parsed = tomllib.loads(octets.decode("utf-8"))
    except UnicodeDecodeError as wrong:
        problems.append(f"{place}: is not UTF-8 text (octet {wrong.start}); save it as UTF-8")
        return []
    except tomllib.TOMLDecodeError as wrong:
        problems.append(f"{place}: is not TOML: {wrong}")
        return []
    found: list[Given] = []
    for key, value in parsed.items():
        if key not in SECTIONS:
            _take(place, key, value, found, problems)
        elif isinstance(value, dict):
            for inner, inner_value in value.items():
                _take(place, f"{key}.{inner}", inner_value, found, problems)
        else:
            problems.append(f"{place}: {key}: is a section; write [{key}] and its settings below it")
    return found


def _take(place: str, name: str, value: Any, found: list[Given], problems: list[str]) -> None:
    setting = SETTINGS.get(name)
    if setting is not None:
        found.append(Given(setting, "file", place, value))
    elif isinstance(value, dict) and "." not in name:
        problems.append(f"{place}: [{name}]: no such section; {suggestion(name, SECTIONS)}")
    else:
        problems.append(f"{place}: {name}: no such setting; {suggestion(name, SETTINGS)}")


def from_environment(environ: Mapping[str, str], others: Iterable[str], problems: list[str]) -> list[Given]:
    """What the environment gives; variables in ``others`` mean something else."""
    found = []
    ignored = frozenset(others)
    for name in sorted(environ):
        if name in BY_ENV:
            found.append(Given(BY_ENV[name], "environment", name, environ[name]))
        elif name.startswith(ENV_START) and name not in ignored:
            problems.append(f"environment: {name}: no such setting; {suggestion(name, [*BY_ENV, *ignored])}")
    return found


def from_flags(pairs: Iterable[str], problems: list[str]) -> list[Given]:
    """What ``--set name=value`` gives."""
    found = []
    for pair in pairs:
        name, equals, value = pair.partition("=")
        name = name.strip()
        if not equals:
            problems.append(f"--set {pair}: write name=value, for example --set listen.udp_port=2642")
        elif name not in SETTINGS:
            problems.append(f"--set {name}: no such setting; {suggestion(name, SETTINGS)}")
        else:
            found.append(Given(SETTINGS[name], "flag", "--set", value))
    return found


def _from_text(setting: Setting, text: str) -> Any:
    """The value a text stands for; raises ValidationError, or ValueError for brackets that are no TOML."""
    schema = setting.schema
    if schema["nullable"] and text.strip().lower() == NONE:
        return None
    if schema.get("type") in ("array", "object"):
        stripped = text.strip()
        if stripped[:1] in ("[", "{"):
            return setting.adapter.validate_python(tomllib.loads(f"x = {stripped}")["x"])
        return setting.adapter.validate_python([part.strip() for part in stripped.split(",") if part.strip()])
    return setting.adapter.validate_python(text if schema.get("type") == "string" else text.strip())


def _from_toml(setting: Setting, value: Any) -> Any:
    """The value of a TOML value; raises ValidationError, and TypeError for dates."""
    if value == NONE and setting.schema["nullable"]:
        return None
    return setting.adapter.validate_json(json.dumps(value), strict=True)


def checked(given: Given, problems: list[str]) -> Any:
    """The value in its own type; None and a problem when it has another."""
    setting = given.setting
    try:
        return (_from_toml if given.kind == "file" else _from_text)(setting, given.value)
    except (ValidationError, ValueError, TypeError) as wrong:
        shown = repr(given.value)
        if len(shown) > SHOWN_CHARACTERS_MAX:
            shown = shown[:SHOWN_CHARACTERS_MAX] + "…"
        start = f"{given.place}: " if given.kind != "flag" else ""
        subject = setting.name if given.kind != "flag" else f"--set {setting.name}"
        problems.append(f"{start}{subject}: expected {setting.expected}, not {shown}{_detail(wrong)}")
        return None


def _detail(wrong: Exception) -> str:
    """What a validator of ours added; pydantic's own words repeat what was said."""
    if not isinstance(wrong, ValidationError):
        return ""
    first = wrong.errors()[0]
    return f": {first['ctx']['error']}" if first["type"] == "value_error" else ""


def load(
    file: tuple[str, bytes] | None, environ: Mapping[str, str], flags: Iterable[str], others: Iterable[str] = ()
) -> Loaded:
    """The configuration of a node. ``file`` is (name, octets); ``others`` are variables of the environment that are
    no settings. Raises :class:`SettingsWrong` with every problem there is."""
    problems: list[str] = []
    given = [] if file is None else from_file(*file, problems)
    given += from_environment(environ, others, problems)
    given += from_flags(flags, problems)
    origins: dict[str, Given] = {}
    nested: dict[str, Any] = {}
    for each in given:
        value = checked(each, problems)
        section, dot, key = each.setting.name.partition(".")
        if dot:
            nested.setdefault(section, {})[key] = value
        else:
            nested[section] = value
        origins[each.setting.name] = each
    if problems:
        raise SettingsWrong(problems)
    try:
        return Loaded(NodeConfig.model_validate(nested), origins)
    except ValidationError as wrong:  # rules between several settings of a section
        texts = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in wrong.errors()]
        raise SettingsWrong(texts) from wrong
