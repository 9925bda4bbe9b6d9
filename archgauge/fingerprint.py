"""What a rule's code is: a hash over its script and all modules of the package that the script reaches.

Snakemake does not see package code. Each rule therefore carries `fingerprint(...)` in its `params`, so that an edit
reruns what it touches and nothing else. Modules are compared as syntax trees: comments, docstrings and layout do not
count. Modules found by name at run time (a family, a predictor) are no import, so the caller names them.

The Snakefile calls this module while it is parsed: standard library only, and each file is read once a process.
"""

import ast
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

from archgauge.errors import ConfigError

PACKAGE_ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class _Module:
    """One parsed file: the hash of its syntax tree, the local modules that it imports, its top-level names."""

    digest: str
    imports: frozenset[str]
    defines: frozenset[str]


def fingerprint(root: str | Path, modules: Iterable[str]) -> str:
    """Hash the code that the given scripts and modules reach by static imports.

    Files are read once a process: a running workflow sees the code as it was when the workflow was parsed.

    Args:
        root: folder that holds the package, usually the repository.
        modules: scripts as paths below `root` (`workflow_scripts/embed.py`) and modules by dotted name
            (`archgauge.predictors.ridge`).

    Returns:
        16 hexadecimal digits.

    Raises:
        ConfigError: when a named or imported module does not exist, or a file is no valid Python.
    """
    return _fingerprint(Path(root), tuple(modules))


def closure(root: str | Path, modules: Iterable[str]) -> list[str]:
    """Return the sorted names of all modules that count in `fingerprint(root, modules)`."""
    root, found, waiting = Path(root), set[str](), list(modules)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(_parents(name))
            waiting.extend(_module(root, name).imports)
    return sorted(found)


def choices(package: str, member: str, root: str | Path = PACKAGE_ROOT) -> list[str]:
    """Return the names that can be chosen in a package of plug-ins, without importing any.

    A module is a choice when its name has no leading underscore and it defines `member` at its top level, as a class,
    a function or an assignment: `choices("archgauge.predictors", "Predictor")`. Helper modules do not.
    """
    root = Path(root)
    return [name for name in _modules_in(root, package) if member in _module(root, f"{package}.{name}").defines]


@cache
def _fingerprint(root: Path, modules: tuple[str, ...]) -> str:
    total = hashlib.sha256()
    for name in closure(root, modules):
        total.update(f"{name} {_module(root, name).digest}\n".encode())
    return total.hexdigest()[:16]


@cache
def _module(root: Path, name: str) -> _Module:
    path = _file(root, name)
    tree = _tree(path)
    tokens: list[str] = []
    imports: list[ast.Import | ast.ImportFrom] = []
    _flatten(tree, tokens, imports)
    return _Module(
        digest=hashlib.sha256("\0".join(tokens).encode("utf-8", "surrogatepass")).hexdigest(),
        imports=frozenset(one for node in imports for one in _imported(root, name, path, node)),
        defines=frozenset(_defined(tree)),
    )


def _imported(root: Path, name: str, path: Path, node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    """Yield the modules below `root` that one import statement of module `name` runs, packages above them aside."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield from _local(root, name, alias.name)
        return
    base = node.module or ""
    if node.level:
        # One dot is the package that holds the module; for a package's __init__ that is the package itself.
        parts = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
        base = ".".join([*parts[: len(parts) - node.level + 1], *([base] if base else [])])
    yield from _local(root, name, base)
    # `from package import name`: the name may be a module of its own.
    yield from (f"{base}.{alias.name}" for alias in node.names if _found(root, f"{base}.{alias.name}"))


def _local(root: Path, importer: str, name: str) -> Iterator[str]:
    top = name.partition(".")[0]
    if (root / top / "__init__.py").is_file():
        yield name
    elif importer.endswith(".py"):
        sibling = PurePosixPath(importer).with_name(f"{top}.py")  # a script's own folder is on its path
        if (root / sibling).is_file():
            yield str(sibling)


def _parents(name: str) -> list[str]:
    """Importing a.b.c also runs a and a.b; a script has no package."""
    parts = [] if name.endswith(".py") else name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]


def _found(root: Path, name: str) -> Path | None:
    """Return the file of a script or module, or None: `a/b/__init__.py` or `a/b.py` for a.b."""
    stem = root / name if name.endswith(".py") else root.joinpath(*name.split("."))
    candidates = [stem] if name.endswith(".py") else [stem / "__init__.py", stem.with_name(f"{stem.name}.py")]
    return next((path for path in candidates if path.is_file()), None)


def _file(root: Path, name: str) -> Path:
    path = _found(root, name)
    if path is None:
        package = name.rpartition(".")[0]
        known = ", ".join(_modules_in(root, package)) or "an existing module"
        raise ConfigError(
            "a module of the workflow's code",
            where=name,
            expected="an existing script" if name.endswith(".py") else f"one of {known}",
            got=f"no such file in {root}",
            remedy="Correct the name in config.yaml, or in the script or module that imports it.",
        )
    return path


def _modules_in(root: Path, package: str) -> list[str]:
    folder = root.joinpath(*package.split("."))
    files = [path.stem for path in folder.glob("*.py")]
    packages = [path.parent.name for path in folder.glob("*/__init__.py")]
    return sorted(name for name in files + packages if not name.startswith("_"))


def _defined(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id


def _tree(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_bytes(), filename=str(path))
    except (SyntaxError, ValueError) as error:
        raise ConfigError(
            "the syntax of a module", where=path, expected="valid Python", got=error, remedy="Correct the file."
        ) from error


def _flatten(node: ast.AST, tokens: list[str], imports: list) -> None:
    """Write a syntax tree as tokens without positions, and collect its imports, in one pass.

    `ast.dump` and a walk for the imports take more than twice as long.
    """
    if isinstance(node, ast.Import | ast.ImportFrom):
        imports.append(node)
    tokens.append(type(node).__name__)
    for field in node._fields:
        if field == "kind" and isinstance(node, ast.Constant):
            continue  # u"text" is "text"
        value = getattr(node, field, None)
        if isinstance(value, ast.AST):
            _flatten(value, tokens, imports)
        elif isinstance(value, list):
            tokens.append("[")
            for item in value:
                if not isinstance(item, ast.AST):
                    tokens.append(repr(item))
                elif not _is_docstring(item):
                    _flatten(item, tokens, imports)
            tokens.append("]")
        else:
            tokens.append(repr(value))


def _is_docstring(node: ast.AST) -> bool:
    """A string that stands alone as a statement documents what is around it and does nothing."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
