"""Checking single values of the configuration: against the schema, a list of choices, the keywords of a signature."""

import ast
import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from archgauge.config import Config, plain
from archgauge.errors import ConfigError
from archgauge.signatures import Keywords

SCHEMA = Path(__file__).with_name("config.schema.yaml")


def check_schema(config: Config) -> None:
    """Compare the configuration with config.schema.yaml.

    Raises:
        ConfigError: naming the key, and what the schema says of it.
    """
    schema = yaml.safe_load(SCHEMA.read_text())
    errors = sorted(jsonschema.Draft202012Validator(schema).iter_errors(plain(config)), key=lambda e: list(e.path))
    if errors:
        error = _deepest(errors[0])
        path = ".".join(map(str, error.absolute_path)) or "the top level"
        known = error.schema.get("properties", {}) if isinstance(error.schema, dict) else {}
        described = error.schema.get("description", "") if isinstance(error.schema, dict) else ""
        raise ConfigError(
            "the configuration",
            where=path,
            expected=f"one of the keys {', '.join(known)}"
            if error.validator == "additionalProperties"
            else _rule(error),
            got=error.message,
            remedy=described or "Correct config.yaml; archgauge/config.schema.yaml describes every key.",
        )


def _deepest(error: jsonschema.ValidationError) -> jsonschema.ValidationError:
    """Of alternatives, the failure of the one that was meant: the one whose constant (protocol, kind) fits."""
    while error.context:
        branches: dict[Any, list[jsonschema.ValidationError]] = {}
        for inner in error.context:
            branches.setdefault(inner.schema_path[0], []).append(inner)
        meant = [group for group in branches.values() if not any(map(_rules_out, group))]
        chosen = (meant or list(branches.values()))[0]
        error = chosen[0]
    return error


def _rules_out(error: jsonschema.ValidationError) -> bool:
    """Whether a failure says that another alternative was meant."""
    return error.validator == "const" or (error.validator == "type" and not error.relative_path)


def _rule(error: jsonschema.ValidationError) -> str:
    return f"{error.validator} {error.validator_value}"


def check_choice(where: str, name: Any, known: Iterable[Any]) -> None:
    """Check that a name is one of those known.

    Raises:
        ConfigError: naming them, and the nearest one.
    """
    known = list(known)
    if name not in known:
        close = difflib.get_close_matches(str(name), map(str, known), 1)
        raise ConfigError(
            "a name in the configuration",
            where=where,
            expected=f"one of {', '.join(map(str, known)) or 'none, because none is configured'}",
            got=repr(name),
            remedy=f"Did you mean {close[0]!r}?" if close else "Correct config.yaml.",
        )


_POSITIVE = ("epochs", "batch_size", "epoch_steps", "learning_rate", "hidden", "width", "layers")
_TYPES: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "int | None": (int, type(None)),
    "float": (int, float),
    "bool": (bool,),
    "str": (str,),
    "Sequence[int]": (list,),
    "Sequence[str]": (list,),
}


def check_keywords(where: str, given: Mapping[str, Any], known: Keywords) -> None:
    """Compare keywords with a signature.

    Raises:
        ConfigError: for an unknown or missing keyword, a wrong type, or a size that is not positive.
    """
    for name in given:
        check_choice(f"{where}.{name}", name, known)
    missing = [name for name, (_, optional) in known.items() if not optional and name not in given]
    if missing:
        raise ConfigError(
            "the keywords in the configuration",
            where=where,
            expected=", ".join(known),
            got=f"no {', '.join(missing)}",
            remedy="Add what is missing; the module's docstring says what it means.",
        )
    for name, value in given.items():
        _check_value(f"{where}.{name}", value, known[name][0])
        sizes = value if isinstance(value, list) else [value]
        if name in _POSITIVE and any(size is not None and size <= 0 for size in sizes):
            raise ConfigError(
                "the range of a setting",
                where=f"{where}.{name}",
                expected="more than 0",
                got=value,
                remedy="Correct config.yaml.",
            )


def _check_value(where: str, value: Any, annotation: str) -> None:
    """Compare a value with the annotation of its keyword, where that is a plain type, a list of such, or of choices."""
    if annotation.startswith("Sequence[") and isinstance(value, list):
        for item in value:
            _check_value(where, item, annotation.removeprefix("Sequence[").removesuffix("]"))
    if annotation.startswith("Literal["):
        check_choice(where, value, ast.literal_eval(f"[{annotation.removeprefix('Literal[')}"))
    types = _TYPES.get(annotation)
    if types and (not isinstance(value, types) or (isinstance(value, bool) and bool not in types)):
        raise ConfigError(
            "the type of a setting",
            where=where,
            expected=annotation,
            got=f"{value!r} ({type(value).__name__})",
            remedy="Correct config.yaml.",
        )
