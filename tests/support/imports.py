"""The rules of CONTRIBUTING.md about who may import whom, checked over the import statements."""

import ast
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path, PurePosixPath

SERVICE, NETWORKS, TOOLS = "handler", "model", "scripts"
FOLDERS = (SERVICE, NETWORKS, TOOLS)

CLASSIFIER = "chest_xray.classifier"
SHARED = {
    "chest_xray",
    "chest_xray.archive",
    "chest_xray.errors",
    "chest_xray.files",
    "chest_xray.machine",
    "chest_xray.settings",
    "chest_xray.typed_settings",
    "chest_xray.worker.contract",
}
"""What the operator's tools may know of the service. The bare package says where it lies."""

READERS = {
    "chest_xray_ops.golden",
    "chest_xray_ops.commands.evaluate",
    "chest_xray_ops.commands.score",
}
"""The tools that read films, for which they may use the classifier."""

COMMANDS = "chest_xray_ops.commands"
DISPATCHERS = ("chest_xray_ops.cli", "chest_xray_ops.__main__")
"""The only modules, besides the files in scripts/, that may start a command."""

EXCEPTIONS: Mapping[tuple[str, str], str] = {
    ("chest_xray_ops.golden", "chest_xray.request"): "it asks the classifier",
}
"""(importing module, imported module) -> the reason."""


@dataclass(frozen=True)
class Module:
    """A source file, by its name as Python imports it."""

    name: str
    folder: str
    path: str
    source: str

    @property
    def is_command(self) -> bool:
        """Whether a person runs it: a file directly in scripts/, or a command of the console."""
        return PurePosixPath(self.path).parent == PurePosixPath(TOOLS) or is_verb(self.name)


@dataclass(frozen=True)
class Import:
    """One statement: who imports what, and where."""

    importer: Module
    target: str
    line: int

    def __str__(self) -> str:
        return f"{self.importer.path}:{self.line}: {self.importer.name} imports {self.target}"


def read_tree(root: Path) -> dict[str, str]:
    """Path below ``root`` -> text of every source file of the project."""
    return {
        str(path.relative_to(root)): path.read_text(encoding="utf-8")
        for folder in FOLDERS
        for path in sorted((root / folder).rglob("*.py"))
    }


def violations(
    tree: Mapping[str, str], exceptions: Collection[tuple[str, str]] = frozenset(EXCEPTIONS)
) -> list[str]:
    """What breaks a rule in these files, path -> text; a line for each."""
    modules = [_module(path, source) for path, source in tree.items()]
    known = {module.name: module for module in modules}
    imports = [
        each
        for module in modules
        for each in _imports(module, known)
        if (each.importer.name, each.target) not in exceptions
    ]
    found = [f"{each}: {reason}" for each in imports for reason in _reasons(each, known)]
    return [*dict.fromkeys(found), *_circles(imports, known)]


def is_verb(name: str) -> bool:
    """Whether this is a command of the console."""
    return name.startswith(COMMANDS + ".")


def within(name: str, package: str) -> bool:
    """Whether this is the package or something in it."""
    return name == package or name.startswith(package + ".")


def _module(path: str, source: str) -> Module:
    folder, *parts = PurePosixPath(path).with_suffix("").parts
    if parts[-1] == "__init__":
        parts.pop()
    return Module(".".join(parts), folder, path, source)


def _imports(module: Module, known: Mapping[str, Module]) -> Iterator[Import]:
    """Every import of a file, those inside functions included. ``from package import name`` imports
    the module of that name where there is one, and else the package."""
    package = module.name.split(".")
    if not module.path.endswith("__init__.py"):
        package = package[:-1]
    for node in _statements(module.source):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module, alias.name, node.lineno)
        else:
            above = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*above, *filter(None, [node.module])])
            for alias in node.names:
                inner = f"{origin}.{alias.name}"
                yield Import(module, inner if inner in known else origin, node.lineno)


@cache
def _statements(source: str) -> list[ast.Import | ast.ImportFrom]:
    nodes = ast.walk(ast.parse(source))
    return [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]


def _reasons(each: Import, known: Mapping[str, Module]) -> Iterator[str]:
    importer, target = each.importer, each.target
    other = known.get(target)
    folder = other.folder if other else None
    if importer.folder == SERVICE:
        yield from _reasons_of_service(importer.name, target, folder)
    if importer.folder == NETWORKS and folder == TOOLS:
        yield "networks and training know nothing of the tools"
    if within(importer.name, "chest_xray_ops") and within(target, "chest_xray"):
        reads = target == CLASSIFIER and importer.name in READERS
        if target not in SHARED and not reads:
            yield "the tools know only what the service shares with them"
    if other is not None and other.is_command:
        entry = importer.is_command and not is_verb(importer.name)
        if not ((entry or importer.name in DISPATCHERS) and is_verb(target)):
            yield "a command is run, never imported"


def _reasons_of_service(importer: str, target: str, folder: str | None) -> Iterator[str]:
    if folder in (NETWORKS, TOOLS):
        yield "the service knows neither training nor tools"
    if within(target, "ts") and importer != "chest_xray.worker.image_classifier":
        yield "one module alone knows TorchServe"
    if within(importer, "chest_xray") and not within(importer, "chest_xray.worker"):
        slots = (CLASSIFIER, "chest_xray.worker.core_slots")
        if within(target, "chest_xray.worker") and (importer, target) != slots:
            yield "the request path knows nothing of workers, but for the cores they share"


def _circles(imports: Iterable[Import], known: Mapping[str, Module]) -> Iterator[str]:
    graph: dict[str, set[str]] = {name: set() for name in known}
    for each in imports:
        if each.target in known and each.target != each.importer.name:
            graph[each.importer.name].add(each.target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        yield f"a circle of imports: {' <- '.join(error.args[1])}"
