"""Settings as frozen dataclasses whose fields say everything about a setting: YAML values and
environment -> checked values, and the comments with which a YAML file shows the defaults."""

import difflib
import textwrap
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, TypeVar, Union, get_args, get_origin

_Settings = TypeVar("_Settings", bound="TypedSettings")
_Value = TypeVar("_Value")
_WORDS = {"true": True, "false": False}
_SIMILAR = 0.9
"""From which a variable counts as a misspelt one of ours (a difflib ratio)."""
_WIDTH = 100
_KEY = "setting"


class SettingError(ValueError):
    """A setting is unknown or wrong; the message is one line for the person who set it."""


@dataclass(frozen=True)
class _Rule:
    """What a field says besides its type and default."""

    meaning: str
    unit: str
    least: float | None
    most: float | None
    check: Callable[[Any], object] | None
    expected: str


def read_yaml(text: str, name: str) -> dict[str, Any]:
    """A mapping; empty if there is nothing in the file.

    Args:
        name: of the file, for messages.

    Raises:
        SettingError: it is not YAML, or something else than a mapping.
    """
    import yaml  # here, since the bare client reads no YAML

    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        problem = " ".join(str(error).split())
        raise SettingError(f"{name}: invalid YAML: {problem}") from None
    if values is not None and not isinstance(values, dict):
        raise SettingError(f"{name}: expected names with values, got {values!r}")
    return values or {}


def setting(
    default: _Value,
    meaning: str,
    *,
    unit: str = "",
    least: float | None = None,
    most: float | None = None,
    check: Callable[[Any], object] | None = None,
    expected: str = "",
) -> _Value:
    """A field of :class:`TypedSettings`.

    Args:
        default: usable as it is.
        meaning: what it does, for the YAML file's comment; the unit is added.
        unit: of a number, in the plural: ``"seconds"``.
        least: the smallest number; without it, numbers must be positive.
        most: the largest number.
        check: called with a value of the right type, for a list with each item; a false result
            refuses it. The method ``fullmatch`` of a pattern is one.
        expected: says in messages what ``check`` accepts.
    """
    rule = _Rule(meaning, unit, least, most, check, expected)
    value: _Value = field(default=default, metadata={_KEY: rule})
    return value


@dataclass(frozen=True)
class TypedSettings:
    """Base of all settings. A field's type is bool, int, float, str, a tuple of one of these, or
    one of these or None, which only a default can be.

    Raises:
        SettingError: a value has the wrong type or form.
    """

    part: ClassVar[str]
    """Whose settings they are, for messages: ``"handler"``."""
    prefix: ClassVar[str]
    """Of the variables in the environment."""
    owns_prefix: ClassVar[bool] = False
    """Nobody else uses the prefix, so every unknown variable with it is refused; otherwise only
    those are that look like misspelt ones."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if not _fits(value, each.type, _rule(each)):
                raise _wrong(f"{self.part} setting {each.name}", value, each)

    @classmethod
    def load(
        cls: type[_Settings],
        values: Mapping[str, Any] | None,
        environment: Mapping[str, str],
        **chosen: Any,
    ) -> _Settings:
        """Settings from parsed YAML, overridden from the environment.

        Args:
            values: a mapping of names to values, as YAML gives it; None if the file has none.
            environment: ``<prefix><NAME>`` overrides a setting; lists are comma-separated there.
            chosen: overrides both, as options of a command do.

        Raises:
            SettingError: a name is unknown or misspelt, or a value is wrong.
        """
        known = {each.name: each for each in fields(cls)}
        _refuse_unknown(cls.part, values, known)
        loaded = {name: _from_yaml(value) for name, value in (values or {}).items()}
        variables = {cls.prefix + name.upper(): name for name in known}
        for variable, text in environment.items():
            if name := variables.get(variable):
                loaded[name] = _parse(variable, text, known[name])
            elif variable.startswith(cls.prefix):
                _refuse_misspelt(variable, variables, cls.owns_prefix)
        return cls(**loaded | chosen)

    @classmethod
    def as_comments(cls, indent: str = "") -> str:
        """Every setting as a commented line of YAML with its default, meaning and unit."""
        shown = {each.name: f"# {each.name}: {_as_yaml(each.default)}" for each in fields(cls)}
        column = len(indent) + 2 + max(map(len, shown.values()))
        lines = []
        for each in fields(cls):
            rule = _rule(each)
            meaning = f"{rule.meaning} ({rule.unit})" if rule.unit else rule.meaning
            start = f"{indent}{shown[each.name]}"
            first, *rest = textwrap.wrap(meaning, _WIDTH - column - 2)
            lines.append(f"{start:<{column - 2}}  # {first}")
            lines += [f"{indent + '#':<{column}}# {line}" for line in rest]
        return "".join(line + "\n" for line in lines)


def _rule(of: Any) -> _Rule:
    rule: _Rule = of.metadata[_KEY]
    return rule


def _refuse_unknown(part: str, values: object, known: Mapping[str, Any]) -> None:
    """``values`` is what a person wrote, which may be anything."""
    if not isinstance(values, Mapping | None):
        raise SettingError(f"{part} settings: expected names with values, got {values!r}")
    for name in values or ():
        if name not in known:
            close = difflib.get_close_matches(str(name), known, 1)
            hint = f"; did you mean {close[0]}?" if close else f": expected {', '.join(known)}"
            raise SettingError(f"unknown {part} setting {name}{hint}")


def _refuse_misspelt(variable: str, variables: Mapping[str, str], all_ours: bool) -> None:
    """Others may use a prefix too, as Kubernetes does for a service of this name."""
    cutoff = 0.6 if all_ours else _SIMILAR
    close = difflib.get_close_matches(variable, variables, 1, cutoff)
    if close:
        raise SettingError(f"unknown setting {variable}; did you mean {close[0]}?")
    if all_ours:
        raise SettingError(f"unknown setting {variable}: expected {', '.join(variables)}")


def _from_yaml(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _plain(kind: Any) -> tuple[Any, bool]:
    """A field's type without "or None", and whether it may be None."""
    if get_origin(kind) in (Union, types.UnionType):
        [plain] = [each for each in get_args(kind) if each is not type(None)]
        return plain, True
    return kind, False


def _fits(value: Any, kind: Any, rule: _Rule) -> bool:
    kind, optional = _plain(kind)
    if value is None:
        return optional
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        return isinstance(value, tuple) and all(_fits(each, item, rule) for each in value)
    if kind in (str, bool):
        right = isinstance(value, kind)
    else:
        right = _is_number(value, kind) and _is_within(value, rule)
    return right and (rule.check is None or bool(rule.check(value)))


def _is_number(value: Any, kind: Any) -> bool:
    # bool is an int to Python, not to a reader of the file.
    return isinstance(value, int if kind is int else (int, float)) and not isinstance(value, bool)


def _is_within(value: float, rule: _Rule) -> bool:
    enough = value > 0 if rule.least is None else value >= rule.least
    return enough and value < float("inf") and (rule.most is None or value <= rule.most)


def _wrong(name: str, value: Any, of: Any) -> SettingError:
    return SettingError(f"{name}: expected {_expected(of.type, _rule(of))}, got {value!r}")


def _expected(kind: Any, rule: _Rule) -> str:
    kind, _ = _plain(kind)
    if get_origin(kind) is tuple:
        return f"a list, each item {_expected(get_args(kind)[0], rule)}"
    if rule.expected:
        return rule.expected
    if kind in (bool, str):
        return "true or false" if kind is bool else "a text"
    number = "whole number" if kind is int else "number"
    unit = f" of {rule.unit}" if rule.unit else ""
    if rule.most is not None:
        return f"a {number}{unit} from {1 if rule.least is None else rule.least} to {rule.most}"
    if rule.least is not None:
        return f"a {number}{unit}, {rule.least} or more"
    return f"a positive {number}{unit}"


def _parse(variable: str, text: str, of: Any) -> Any:
    """An environment variable's text as a value of a field's type."""
    kind, _ = _plain(of.type)
    text = text.strip()
    try:
        if get_origin(kind) is tuple:
            items = (item.strip() for item in text.split(","))
            value: Any = tuple(_parse_one(item, get_args(kind)[0]) for item in items if item)
        else:
            value = _parse_one(text, kind)
    except (ValueError, KeyError):
        raise _wrong(variable, text, of) from None
    if not _fits(value, of.type, _rule(of)):
        raise _wrong(variable, text, of)
    return value


def _parse_one(text: str, kind: Any) -> Any:
    return _WORDS[text.lower()] if kind is bool else kind(text)


def _as_yaml(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_as_yaml, value))}]"
    if isinstance(value, str):
        return f'"{value}"'
    return str(value).lower() if isinstance(value, bool) else str(value)
