"""What the file of a playbook says of itself, read and never run: looking at one does nothing.

Belongs here: summary, steps, settings, and the hook, out of the file's syntax tree. Does not
belong here: where playbooks lie and running them (`playbook`), what a hook does (`hooks`).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from oakctl.errors import UsageError

HOOKS = ("BEFORE", "AFTER")


@dataclass(frozen=True)
class StepOutline:
    """A step as the file has it; parts of a title that vary stand in braces."""

    name: str
    title: str
    line: int


@dataclass(frozen=True)
class Outline:
    """A playbook's file. `fault`: why it cannot be read as one, with its line."""

    name: str
    path: str
    own: bool  # the user's, not one that ships with oakctl
    summary: str = ""
    text: str = ""  # the whole of its docstring
    before: str = ""
    after: str = ""
    takes: tuple[str, ...] = ()  # settings of its function `steps`; "role=" has a default
    steps: tuple[StepOutline, ...] = ()
    fault: str = ""

    @property
    def hook(self) -> str:
        """`before worker.agent`, or empty."""
        named = (("before", self.before), ("after", self.after))
        return ", ".join(f"{word} {target}" for word, target in named if target)


def slug(title: str) -> str:
    """What a step is called that has no name: `bus: port free` is `port-free`."""
    rest = title.partition(": ")[2] or title
    return re.sub(r"[^a-z0-9]+", "-", re.sub(r"\{.*?\}", "", rest.lower())).strip("-")


def read(path: Path, *, own: bool) -> Outline:
    """The outline of a file; one that cannot be read has a `fault` and not much else."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    except SyntaxError as error:
        return _faulty(path, own, f"{path}, line {error.lineno}: SyntaxError: {error.msg}")
    except (OSError, ValueError) as error:  # a null byte, another encoding
        return _faulty(path, own, f"{path}: {type(error).__name__}: {error}")
    text = ast.get_docstring(tree) or ""
    try:
        hooks = dict(_hooks(path, tree))
    except UsageError as error:
        return _faulty(path, own, error.message)
    return Outline(
        path.stem,
        str(path),
        own,
        text.partition("\n")[0],
        text,
        hooks.get("BEFORE", ""),
        hooks.get("AFTER", ""),
        _takes(tree),
        tuple(_steps(tree)),
        "" if _function(tree) else f"{path}: it has no function `steps`",
    )


def _faulty(path: Path, own: bool, fault: str) -> Outline:
    return Outline(path.stem, str(path), own, fault=fault)


def _hooks(path: Path, tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in tree.body:
        if not isinstance(node, ast.Assign | ast.AnnAssign):
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in targets:
            if isinstance(target, ast.Name) and target.id in HOOKS:
                value = node.value
                if not isinstance(value, ast.Constant) or not isinstance(value.value, str):
                    raise UsageError(f"{path}, line {node.lineno}: {target.id} is not a text")
                yield target.id, value.value


def _function(tree: ast.Module) -> ast.FunctionDef | None:
    found = (n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "steps")
    return next(found, None)


def _takes(tree: ast.Module) -> tuple[str, ...]:
    function = _function(tree)
    if function is None:
        return ()
    names = [argument.arg for argument in (*function.args.args, *function.args.kwonlyargs)]
    defaults = len(function.args.defaults) + len(function.args.kwonlyargs)
    required = len(names) - defaults
    return tuple(name if at < required else f"{name}=" for at, name in enumerate(names))


def _steps(tree: ast.Module) -> Iterator[StepOutline]:
    """Every step that `steps` may give: made in it, or in a function of the file that it calls."""
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    first = functions.get("steps")
    if first is None:
        return
    called = {node.func.id for node in _calls(first) if isinstance(node.func, ast.Name)}
    within = [first, *(node for name, node in functions.items() if name in called - {"steps"})]
    calls = [call for node in within for call in _calls(node)]
    for call in sorted(calls, key=lambda node: node.lineno):
        step = _step(call)
        if step is not None:
            yield step


def _calls(node: ast.AST) -> list[ast.Call]:
    return [each for each in ast.walk(node) if isinstance(each, ast.Call)]


def _step(call: ast.Call) -> StepOutline | None:
    """The step that `Step(title, …)` or `unit_step(title, name, …)` makes."""
    called = call.func.id if isinstance(call.func, ast.Name) else ""
    title = _text(call.args[0]) if call.args else ""
    if not title or not (called == "Step" or called.endswith("_step")):
        return None
    name = next((_text(word.value) for word in call.keywords if word.arg == "name"), "")
    if called != "Step" and len(call.args) > 1:
        name = name or _text(call.args[1])
    return StepOutline(name or slug(title), title, call.lineno)


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_part(part) for part in node.values)
    return ""


def _part(node: ast.expr) -> str:
    return f"{{{ast.unparse(node.value)}}}" if isinstance(node, ast.FormattedValue) else _text(node)
