"""Where the chat hands text to Textual, and whether that text is known to be safe, as the source says.

Textual's widgets take any ``str``, so mypy cannot find a foreign one there. This reads the source instead. Safe are
literals, what the sanitizer makes, what is annotated as :data:`~tui.sanitize.SafeText`, a number or Textual's
``Content`` (whose makers are looked at themselves), and what is put together of these. Types are followed by name: what
a file itself defines, else what all files do, where one unsafe meaning makes a name unsafe.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

# What takes text first, or in one of these keywords.
MAKERS = {"Static", "Label", "Option", "Button", "Checkbox", "Input", "TextArea", "LineField", "Content", "Text"}
METHODS = {"notify", "panic", "add_option", "replace_option_prompt"}
KEYWORDS = {"content", "prompt", "label", "value", "text", "placeholder", "tooltip", "title", "message", "subtitle"}
# These take texts, and pairs of a text and its style.
ASSEMBLERS = {"Content.assemble", "Text.assemble"}
ATTRIBUTES = {"border_title", "border_subtitle", "placeholder", "tooltip", "sub_title", "prompt"}
# What is updated and no widget.
NOT_WIDGETS = {"growing", "self._shown", "hash"}
SANITIZERS = {"safe", "safe_line", "safe_cells", "SafeText"}
# Styled is a text with its style.
SAFE_TYPES = {"SafeText", "Styled", "Content", "Text", "int", "float", "bool", "None"}
CONTAINERS = {"list", "tuple", "dict", "Sequence", "Iterable", "Iterator", "Mapping", "Callable", "Literal", "reactive"}
# Methods of safe text whose result is safe if what they are given is.
OF_TEXT = {
    "ljust", "rjust", "center", "join", "strip", "rstrip", "lstrip", "removesuffix", "removeprefix", "replace", "lower",
    "upper", "capitalize", "title", "split", "splitlines", "truncate", "stylize", "format",
}  # fmt: skip
NUMBERS = {"len", "round", "cell_len", "sum", "int", "abs"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Names:
    """What the names of all files stand for: the types of functions' results and of attributes."""

    results: dict[str, list[ast.expr | None]] = field(default_factory=lambda: defaultdict(list))
    attributes: dict[str, list[ast.expr]] = field(default_factory=lambda: defaultdict(list))
    constants: dict[str, list[ast.expr]] = field(default_factory=lambda: defaultdict(list))

    def add(self, tree: ast.Module) -> None:
        """Take a file's."""
        for statement in tree.body:
            for name, value in _assigned(statement):
                self.constants[name].append(value)
        for node in ast.walk(tree):
            match node:
                case ast.FunctionDef() | ast.AsyncFunctionDef():
                    self.results[node.name].append(node.returns)
                    is_property = any(isinstance(one, ast.Name) and "property" in one.id for one in node.decorator_list)
                    if is_property and node.returns is not None:
                        self.attributes[node.name].append(node.returns)
                case ast.ClassDef():
                    for one in node.body:
                        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name):
                            self.attributes[one.target.id].append(one.annotation)
                case ast.AnnAssign(target=ast.Attribute(attr=name)):
                    self.attributes[name].append(node.annotation)


@dataclass
class Scope:
    """The names inside of one function."""

    names: Names
    module: ast.Module
    function: Function | None = None
    sets: dict[str, list[ast.expr]] = field(default_factory=lambda: defaultdict(list))
    annotations: dict[str, ast.expr] = field(default_factory=dict)
    _looking: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        if self.function is None:
            return
        given = self.function.args
        for one in (*given.posonlyargs, *given.args, *given.kwonlyargs):
            if one.annotation is not None:
                self.annotations[one.arg] = one.annotation
        for node in ast.walk(self.function):
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                self.annotations[node.target.id] = node.annotation
                continue
            for name, value in _assigned(node):
                self.sets[name].append(value)

    def is_safe(self, text: ast.expr) -> bool:
        """Whether a text, or all texts of a container, are known to be safe."""
        if isinstance(text, ast.Name):
            return self._is_safe_name(text.id)
        if isinstance(text, ast.Attribute):
            return self._is_safe_attribute(text)
        if isinstance(text, ast.Call):
            return self._is_safe_call(text)
        parts = _parts(text)
        return parts is not None and all(map(self.is_safe, parts))

    def _is_safe_name(self, name: str) -> bool:
        if name in self._looking:
            return True  # itself, with something more
        if name in self.annotations:
            return is_safe_type(self.annotations[name])
        values = self.sets.get(name) or self.names.constants.get(name, [])
        self._looking.add(name)
        try:
            return bool(values) and all(map(self.is_safe, values))
        finally:
            self._looking.discard(name)

    def _is_safe_attribute(self, attribute: ast.Attribute) -> bool:
        name = attribute.attr
        types = self.names.attributes.get(name, [])
        if ast.unparse(attribute.value) == "self":
            # Other files' classes may call something else so.
            own = Names()
            own.add(self.module)
            types = own.attributes.get(name, [])
        if types:
            return all(map(is_safe_type, types))
        # What a class's functions set it to, with their own arguments.
        found: list[bool] = []
        for function in ast.walk(self.module):
            if isinstance(function, Function):
                scope = Scope(self.names, self.module, function, _looking=self._looking)
                found += [scope.is_safe(value) for target, value in _set_attributes(function) if target == name]
        if not found:  # a parent's
            inherited = self.names.attributes.get(name, [])
            return bool(inherited) and all(map(is_safe_type, inherited))
        return all(found)

    def _is_safe_call(self, call: ast.Call) -> bool:
        name = ast.unparse(call.func)
        last = name.rsplit(".", 1)[-1]
        if last in SANITIZERS | NUMBERS | MAKERS or name in ASSEMBLERS or name == "Content.styled":
            return True  # makers and assemblers are looked at by themselves
        if last in {"list", "tuple", "sorted", "reversed", "zip", "chain", "enumerate", "next", "max", "min", "cast"}:
            return all(map(self.is_safe, call.args))
        if isinstance(call.func, ast.Attribute) and last in OF_TEXT:
            return self.is_safe(call.func.value) and all(map(self.is_safe, call.args))
        results = _results(self.module, last) or self.names.results.get(last)
        if results is None:
            return self.is_safe(call.func)  # a function that is a value
        return all(result is not None and is_safe_type(result) for result in results)


def _parts(text: ast.expr) -> list[ast.expr] | None:
    """What makes a text safe if it is; ``None`` where nothing does."""
    match text:
        case ast.Constant() | ast.BinOp(left=ast.Constant(value=str()), op=ast.Mult()):
            return []
        case ast.JoinedStr(values=parts) | ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.BoolOp(values=parts):
            return parts
        case ast.BinOp(left=left, right=right, op=ast.Add() | ast.Sub()) | ast.IfExp(body=left, orelse=right):
            return [left, right]
        case ast.GeneratorExp(elt=element) | ast.ListComp(elt=element):
            return [element]
        case ast.FormattedValue() | ast.Await() | ast.Starred() | ast.Subscript() | ast.NamedExpr():
            return [text.value]
    return None


def _set_attributes(function: Function) -> Iterator[tuple[str, ast.expr]]:
    for node in ast.walk(function):
        if isinstance(node, ast.Assign):
            yield from ((one.attr, node.value) for one in node.targets if isinstance(one, ast.Attribute))


def is_safe_type(annotation: ast.expr) -> bool:
    """Whether all texts of a type are safe."""
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) in {"Literal", "ClassVar", "Final"}:
        return ast.unparse(annotation.value) == "Literal" or is_safe_type(annotation.slice)
    if isinstance(annotation, ast.Constant):
        return annotation.value in {None, ...}
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) == "Callable":
        return isinstance(annotation.slice, ast.Tuple) and is_safe_type(annotation.slice.elts[-1])
    names = {node.id for node in ast.walk(annotation) if isinstance(node, ast.Name)}
    return names <= SAFE_TYPES | CONTAINERS and bool(names & SAFE_TYPES)


def _results(module: ast.Module, name: str) -> list[ast.expr | None]:
    """The types that functions of this name have in one file."""
    return [node.returns for node in ast.walk(module) if isinstance(node, Function) and node.name == name]


def _assigned(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """What names are set to by a statement, a loop or a comprehension; of what is taken apart, to all of it."""
    match node:
        case ast.Assign(targets=targets, value=value):
            for target in targets:
                if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
                    yield from zip(_names([*target.elts]), value.elts, strict=False)
                else:
                    yield from ((name, value) for name in _names([target]))
        case ast.AugAssign(target=target, value=value) | ast.NamedExpr(target=target, value=value):
            yield from ((name, value) for name in _names([target]))
        case ast.AnnAssign(target=target, value=ast.expr() as value):
            yield from ((name, value) for name in _names([target]))
        case ast.For(target=target, iter=value) | ast.comprehension(target=target, iter=value):
            yield from ((name, value) for name in _names([target]))


def _names(targets: Iterable[ast.expr]) -> Iterator[str]:
    for target in targets:
        if isinstance(target, ast.Name):
            yield target.id
        elif isinstance(target, ast.Tuple):
            yield from _names(target.elts)


def handed(tree: ast.AST) -> Iterator[ast.expr]:
    """The texts that a part of the source hands to Textual."""
    match tree:
        case ast.Assign(targets=targets, value=value):
            if any(isinstance(target, ast.Attribute) and target.attr in ATTRIBUTES for target in targets):
                yield value
        case ast.Call(func=func, args=given, keywords=keywords):
            name = ast.unparse(func)
            last = name.rsplit(".", 1)[-1]
            if name in ASSEMBLERS:
                yield from (one.elts[0] if isinstance(one, ast.Tuple) else one for one in given)
            elif name in MAKERS or (isinstance(func, ast.Attribute) and last in METHODS) or name == "Content.styled":
                yield from given[:1]
                yield from (one.value for one in keywords if one.arg in KEYWORDS)
            elif last == "update" and isinstance(func, ast.Attribute) and ast.unparse(func.value) not in NOT_WIDGETS:
                yield from given[:1]


def unsafe(sources: dict[str, str]) -> list[str]:
    """Where texts are handed to Textual that are not known to be safe: file, line, and the text."""
    trees = {name: ast.parse(source) for name, source in sources.items()}
    names = Names()
    for tree in trees.values():
        names.add(tree)
    found = []
    for name, tree in trees.items():
        for scope, node in _in_scopes(names, tree):
            bad = [text for text in handed(node) if not scope.is_safe(text)]
            found += [f"{name}:{text.lineno}: {ast.unparse(text)}" for text in bad]
    return found


def _in_scopes(names: Names, module: ast.Module) -> Iterator[tuple[Scope, ast.AST]]:
    def within(node: ast.AST, scope: Scope) -> Iterator[tuple[Scope, ast.AST]]:
        for child in ast.iter_child_nodes(node):
            yield scope, child
            inner = Scope(names, module, child) if isinstance(child, Function) else scope
            yield from within(child, inner)

    yield from within(module, Scope(names, module))


def sources(package: Path) -> dict[str, str]:
    """The text of all files of a package."""
    return {str(path.relative_to(package)): path.read_text("utf-8") for path in sorted(package.rglob("*.py"))}


def handed_count(sources: dict[str, str]) -> int:
    """How many texts are handed to Textual."""
    return sum(len(list(handed(node))) for source in sources.values() for node in ast.walk(ast.parse(source)))
