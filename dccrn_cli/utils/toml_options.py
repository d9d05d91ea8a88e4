"""Option dataclasses from TOML tables."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from dccrn_cli.errors import OptionError

T = TypeVar("T")


def from_table(base: T, table: Mapping[str, object], where: str) -> T:
    """Copy a frozen dataclass of options, replacing those given in a table.

    Args:
        base: supplies the options missing from the table.
        table: names, with dashes or underscores, and plain values; lists for tuples.
        where: name of the table in messages.

    Raises:
        OptionError: an unknown name, a value of the wrong type, or an invalid value.
    """
    assert dataclasses.is_dataclass(base)
    hints = typing.get_type_hints(type(base))
    values: dict[str, Any] = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        if name not in hints:
            known = ", ".join(field.name for field in dataclasses.fields(base))
            raise OptionError(f"{where}: no setting named {key!r}; choose from {known}")
        if name in values:
            raise OptionError(f"{where}: {name} is given twice")
        try:
            values[name] = _converted(hints[name], value)
        except TypeError as error:
            raise OptionError(f"{where}: {name} must be {error}, not {value!r}") from None
    try:
        return dataclasses.replace(base, **values)  # type: ignore[type-var]
    except OptionError as error:
        raise OptionError(f"{where}: {error.message}") from None


def _converted(kind: Any, value: object) -> Any:
    """Convert a plain value to a type; TypeError describes what it must be."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        if value in arguments:
            return value
        raise TypeError("one of " + ", ".join(map(str, arguments)))
    if origin in (typing.Union, types.UnionType):
        for argument in arguments:
            try:
                return _converted(argument, value)
            except TypeError as error:
                failure = error
        raise failure
    if origin is tuple:
        kinds = arguments[:1] * len(value) if isinstance(value, list | tuple) and ... in arguments else arguments
        if not isinstance(value, list | tuple) or len(value) != len(kinds):
            raise TypeError("a list" if ... in arguments else f"a list of {len(arguments)}")
        return tuple(_converted(each, item) for each, item in zip(kinds, value, strict=True))
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a string"}
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        raise TypeError(names.get(kind, str(kind)))
    return value
