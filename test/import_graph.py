"""Imports between the modules of the repository, read from the source code without importing it."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path


@dataclass(frozen=True)
class Import:
    """One import statement: ``source`` imports ``target``, both dotted module names."""

    source: str
    target: str
    line: int

    def __str__(self) -> str:
        return f"{self.source}:{self.line} imports {self.target}"


def modules_below(folder: Path, prefix: str = "") -> dict[str, Path]:
    """Return dotted names of the modules below ``folder``, and their files; a package has the name of its folder."""
    found = {}
    for path in sorted(folder.rglob("*.py")):
        parts = [*([prefix] if prefix else []), *path.relative_to(folder).with_suffix("").parts]
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(modules: dict[str, Path], bare: frozenset[str] = frozenset()) -> list[Import]:
    """Return one import for each pair of ``modules`` of which one imports the other.

    Imports in functions and under ``TYPE_CHECKING`` count.

    Modules of the folders named in ``bare`` find each other without their folder's name: scripts, for example.
    """
    found = {}
    for source, path in modules.items():
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        package = source if path.name == "__init__.py" else source.rpartition(".")[0]
        top = source.split(".")[0]
        for name, line in _names(tree, package):
            candidates = [name, f"{top}.{name}"] if top in bare else [name]
            target = next((module for item in candidates if (module := _module(item, modules))), "")
            if target and target != source:
                found.setdefault((source, target), Import(source, target, line))
    return list(found.values())


def _names(tree: ast.AST, package: str) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.rsplit(".", node.level - 1)[0] if node.level else ""
            base = ".".join(part for part in (above, node.module) if part)
            yield from ((f"{base}.{alias.name}", node.lineno) for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and ast.unparse(node.func).endswith("import_module"):
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value, node.lineno


def _module(name: str, modules: dict[str, Path]) -> str:
    """Return the longest leading part of ``name`` that is a module, or nothing."""
    parts = name.split(".")
    return next((head for end in range(len(parts), 0, -1) if (head := ".".join(parts[:end])) in modules), "")


def cycles(imports: list[Import]) -> list[str]:
    """Describe one import cycle for every folder that has any, among its modules and sub-folders.

    An import belongs to the deepest folder that holds both ends, and there joins two of its children. If no folder has
    a cycle among its children, there is none between modules either: the children of the deepest folder that held all
    of it would have one.
    """
    graphs: dict[str, dict[str, dict[str, Import]]] = defaultdict(lambda: defaultdict(dict))
    for item in imports:
        folder, source, target = _children(item)
        graphs[folder][source].setdefault(target, item)
    found = []
    for folder, graph in sorted(graphs.items()):
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            # In the library's list each node is imported by the next one.
            circle = list(reversed(error.args[1]))
            steps = [str(graph[source][target]) for source, target in pairwise(circle)]
            found.append("\n  ".join([f"{folder or 'top level'}: {' -> '.join(circle)}", *steps]))
    return found


def _children(item: Import) -> tuple[str, str, str]:
    """Return the deepest folder that holds both ends, and the child of it that each end lies in."""
    source, target = item.source.split("."), item.target.split(".")
    depth = 0
    while depth < min(len(source), len(target)) and source[depth] == target[depth]:
        depth += 1
    names = [parts[depth] if depth < len(parts) else "__init__" for parts in (source, target)]
    return ".".join(source[:depth]), names[0], names[1]
