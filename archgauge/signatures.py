"""What modules state about themselves.

The Snakefile asks on every call. Predictors and strategies import much, so they are read as syntax trees; families
import little, and some are made of others, so they are imported.
"""

import ast
import inspect
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import get_args

from archgauge.fingerprint import PACKAGE_ROOT

Keywords = Mapping[str, tuple[str, bool]]
"""Name -> (annotation, has a default)."""


@cache
def needs_of(module: str) -> frozenset[str]:
    """The columns of a population that a predictor's module reads, its `Predictor.needs`."""
    constants = (part.value for part in ast.walk(_stated(module, "needs")) if isinstance(part, ast.Constant))
    return frozenset(constant for constant in constants if isinstance(constant, str))


@cache
def predicts_percent(module: str) -> bool:
    """A predictor module's `Predictor.predicts_percent`."""
    return bool(ast.literal_eval(_stated(module, "predicts_percent")))


@cache
def is_untrained(module: str) -> bool:
    """Whether a predictor's module learns nothing: then it states `Predictor.untrained`."""
    node = _member(f"archgauge.predictors.{module}", "Predictor")
    return any(isinstance(item, ast.AnnAssign) and ast.unparse(item.target) == "untrained" for item in node.body)


def _stated(module: str, name: str) -> ast.expr:
    """The value of an annotated attribute of a module's class `Predictor`."""
    node = _member(f"archgauge.predictors.{module}", "Predictor")
    stated = (item for item in node.body if isinstance(item, ast.AnnAssign) and ast.unparse(item.target) == name)
    value = next(stated).value
    assert value is not None
    return value


@cache
def keywords(module: str, member: str) -> Keywords:
    """Keyword-only arguments of a function or of a class' constructor, which it may have from its first base."""
    node = _member(module, member)
    if isinstance(node, ast.ClassDef):
        made = [item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__"]
        if not made:
            base = ast.unparse(node.bases[0])
            return keywords(_imported_from(module, base), base)
        node = made[0]
    pairs = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    return {
        arg.arg: (ast.unparse(arg.annotation) if arg.annotation else "", default is not None) for arg, default in pairs
    }


@cache
def fields(module: str, member: str) -> Keywords:
    """Fields of a dataclass."""
    node = _member(module, member)
    assert isinstance(node, ast.ClassDef)
    fields = [item for item in node.body if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)]
    return {item.target.id: (ast.unparse(item.annotation), item.value is not None) for item in fields}  # type: ignore[union-attr]


@cache
def family_keywords(family: str) -> Keywords:
    """Keyword-only arguments of a family's `to_graph`."""
    parameters = inspect.signature(_family(family).to_graph).parameters.values()
    return {
        one.name: (inspect.formatannotation(one.annotation), one.default is not one.empty)
        for one in parameters
        if one.kind is one.KEYWORD_ONLY
    }


def label_sources(family: str) -> list[str]:
    """Names of a family's LABEL_SOURCES."""
    return list(_family(family).LABEL_SOURCES)


def finds_itself(family: str, source: str) -> bool:
    """Whether a label source needs no path: its reader takes None."""
    path = next(iter(inspect.signature(_family(family).LABEL_SOURCES[source]).parameters.values()))
    return path.default is None or type(None) in get_args(path.annotation)


def remotes(family: str) -> dict[str, str]:
    """Label source -> name of the published file that it is fetched from, of a family's REMOTES."""
    return {source: remote.name for source, remote in _family(family).REMOTES.items()}


def collected_file(family: str) -> str:
    """The name of a family's file in the folder of collected tables."""
    return _family(family).COLLECTED


def has_member(family: str, name: str) -> bool:
    """Whether a family has a function that not all of them have: `sample`, `groups`, `named_files`."""
    return hasattr(_family(family), name)


def named_files(family: str, path: str) -> list[str]:
    """The files that a table of architectures names; none where the family has no such table."""
    return list(map(str, _family(family).named_files(path))) if has_member(family, "named_files") else []


def datasheet_of(family: str) -> Mapping[str, str]:
    """A family's DATASHEET."""
    return _family(family).DATASHEET


def _family(name: str) -> ModuleType:
    return import_module(f"archgauge.families.{name}")


def _imported_from(module: str, name: str) -> str:
    imports = (node for node in _tree(module).body if isinstance(node, ast.ImportFrom))
    return next(node.module for node in imports if node.module and name in [alias.name for alias in node.names])


def _member(module: str, member: str) -> ast.ClassDef | ast.FunctionDef:
    nodes = (node for node in _tree(module).body if isinstance(node, ast.ClassDef | ast.FunctionDef))
    return next(node for node in nodes if node.name == member)


def _tree(module: str) -> ast.Module:
    return ast.parse(PACKAGE_ROOT.joinpath(*module.split(".")).with_suffix(".py").read_text())
