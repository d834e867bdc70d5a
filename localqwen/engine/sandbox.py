"""The environment that chat templates are written for, in which a foreign one can do no harm.

It is transformers' ``apply_chat_template`` with Jinja's own sandbox, and with :mod:`localqwen.engine.bounds` compiled
into everything that takes time or memory. Left out is what no chat template needs: other templates, automatic HTML
escaping, and filters for web pages.
"""

from __future__ import annotations

import functools
import json
import operator
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from types import BuiltinMethodType
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment, safe_range
from jinja2.utils import Namespace

from localqwen.engine import bounds
from localqwen.engine.bounds import TemplateLimitError, made, spend

_UNUSED_FILTERS = {
    *("batch", "center", "filesizeformat", "pprint", "random", "slice"),
    *("striptags", "urlencode", "urlize", "wordwrap", "xmlattr"),
}


class Sandbox(ImmutableSandboxedEnvironment):
    """Compile and render its templates inside :func:`localqwen.engine.bounds.limits` only."""

    intercepted_binops = frozenset({"+", "-", "*", "**", "%"})

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"], finalize=_finalize
        )
        self.concat = _concat  # type: ignore[method-assign]
        self.add, self.made, self.tick = bounds.add, made, spend
        self.binop_table = {
            "+": bounds.add,
            "-": lambda left, right: made(left - right),
            "*": bounds.multiply,
            "**": bounds.power,
            "%": bounds.percent,
        }
        self.globals = {
            "range": _range,
            "dict": dict,
            "namespace": _Namespace,
            "raise_exception": _raise_exception,
            "strftime_now": _strftime_now,
        }
        kept = {name: function for name, function in self.filters.items() if name not in _UNUSED_FILTERS}
        self.filters = {
            name: _bounded(function, _FILTER_CHECKS.get(name))
            for name, function in {**kept, "format": _format, "sum": _sum, "tojson": _tojson}.items()
        }
        tests: Mapping[str, Any] = self.tests
        self.tests = {name: _bounded(test, None) if _compares(test) else test for name, test in tests.items()}

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        """Call an object from a template. The names cannot be those of a template's own arguments."""
        spend()
        owner = getattr(__obj, "__self__", None)
        if isinstance(__obj, BuiltinMethodType) or isinstance(owner, str):
            args = bounds.check_method(owner, __obj.__name__, args, kwargs)
        return made(super().call(__context, __obj, *args, **kwargs))

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """``str.format`` and ``str.format_map`` with Jinja's checks of what they reach, and ours of how much."""
        wrapped = super().wrap_str_format(value)
        if wrapped is None:
            return None
        text = value.__self__

        def bounded(*args: Any, **kwargs: Any) -> str:
            bounds.check_braces(text, [*args, kwargs])
            return wrapped(*args, **kwargs)

        return bounded


class _Generator(CodeGenerator):
    """Writes the checks into a template's Python code."""

    def blockvisit(self, nodes: Iterable[nodes.Node], frame: Frame) -> None:
        if frame.loop_frame:
            self.writeline("environment.tick()")
        super().blockvisit(nodes, frame)

    def visit_Add(self, node: nodes.BinExpr, frame: Frame) -> None:  # noqa: N802 - named after the node, as all here
        parts: list[nodes.Expr] = []
        left: nodes.Expr = node
        while isinstance(left, nodes.Add):
            parts.append(left.right)
            left = left.left
        self._write_call("add", [left, *reversed(parts)], frame)

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802
        self.write("environment.concat(map(environment.finalize, (")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write(")))")

    def visit_Compare(self, node: nodes.Compare, frame: Frame) -> None:  # noqa: N802
        cheap = len(node.ops) == 1 and isinstance(node.ops[0].expr, nodes.Const)
        self.write("(" if cheap else "(environment.tick() or ")
        super().visit_Compare(node, frame)
        self.write(")")

    def visit_Getitem(self, node: nodes.Getitem, frame: Frame) -> None:  # noqa: N802
        self._write_made(super().visit_Getitem, node, frame, isinstance(node.arg, nodes.Slice))

    def visit_List(self, node: nodes.List, frame: Frame) -> None:  # noqa: N802
        self._write_made(super().visit_List, node, frame, not _constant(node.items))

    def visit_Tuple(self, node: nodes.Tuple, frame: Frame) -> None:  # noqa: N802
        self._write_made(super().visit_Tuple, node, frame, node.ctx == "load" and not _constant(node.items))

    def visit_Dict(self, node: nodes.Dict, frame: Frame) -> None:  # noqa: N802
        self._write_made(super().visit_Dict, node, frame, bool(node.items))

    def _write_call(self, name: str, arguments: Iterable[nodes.Node], frame: Frame) -> None:
        self.write(f"environment.{name}(")
        for argument in arguments:
            self.visit(argument, frame)
            self.write(", ")
        self.write(")")

    def _write_made(self, visit: Callable[[Any, Frame], None], node: nodes.Node, frame: Frame, charge: bool) -> None:
        if charge:
            self.write("environment.made(")
        visit(node, frame)
        if charge:
            self.write(")")

    def _refuse(self, node: nodes.Node, _frame: Frame) -> NoReturn:
        self.fail(f"{type(node).__name__.lower()} cannot be used in a chat template", node.lineno)


for _name in ("Include", "Import", "FromImport", "Extends", "EvalContextModifier", "ScopedEvalContextModifier"):
    setattr(_Generator, f"visit_{_name}", _Generator._refuse)


Sandbox.code_generator_class = _Generator


class _Namespace(Namespace):
    def __repr__(self) -> str:
        return "<Namespace>"  # what is in it may hold it again, and more than once


def _constant(items: Iterable[nodes.Node]) -> bool:
    return all(isinstance(item, nodes.Const) for item in items)


def _compares(test: Callable[..., Any]) -> bool:
    return test.__module__ == operator.eq.__module__ or test.__name__ in {"test_in", "test_lower", "test_upper"}


def _finalize(value: Any) -> str:
    if type(value) is str:
        return value
    spend(bounds.ESCAPED * bounds.weigh(value) // 10 if isinstance(value, str) else bounds.weigh(value))
    return str(value)


def _concat(parts: Iterable[str]) -> str:
    texts = list(parts)
    spend(sum(map(len, texts)))
    return "".join(texts)


def _range(*args: int) -> range:
    values = safe_range(*args)
    made([values.start, values.stop, values.step])
    return values


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _strftime_now(form: str) -> str:
    if len(form) > 100:
        raise TemplateLimitError("it asks for too long a date")
    return datetime.now().strftime(form)


def _bounded(function: Callable[..., Any], check: Callable[..., Any] | None) -> Callable[..., Any]:
    """A filter or test that is charged for what it makes; ``check`` gets its arguments first and may change them."""
    skipped = 1 if hasattr(function, "jinja_pass_arg") else 0  # Jinja puts an environment or context in front

    @functools.wraps(function)
    def bounded(*args: Any, **kwargs: Any) -> Any:
        spend()
        if check is not None:
            args = (*args[:skipped], *check(*args[skipped:], **kwargs))
            kwargs = {}
        return made(function(*args, **kwargs))

    return bounded


def _check_indent(text: str, width: Any = 4, first: bool = False, blank: bool = False) -> tuple[Any, ...]:
    size = len(width) if isinstance(width, str) else width
    bounds.check_width(text, size)
    spend(len(text) + (text.count("\n") + 1) * size)
    return text, width, first, blank


def _check_join(parts: Iterable[Any], d: str = "", attribute: Any = None) -> tuple[Any, ...]:
    items = list(parts)
    bounds.check_join(str(d), items)
    return items, d, attribute


def _check_replace(text: str, old: str, new: str, count: int | None = None) -> tuple[Any, ...]:
    bounds.check_replace(str(text), old, new)
    return text, old, new, count


def _check_round(value: float, precision: int = 0, method: str = "common") -> tuple[Any, ...]:
    if not -100 < precision < 100:
        raise TemplateLimitError("it rounds to too many places")
    return value, precision, method


def _check_string(value: Any) -> tuple[Any, ...]:
    spend(bounds.weigh(value))
    return (value,)


def _check_trim(text: str, chars: str | None = None) -> tuple[Any, ...]:
    bounds.check_search(str(text), chars)
    return text, chars


_FILTER_CHECKS: dict[str, Callable[..., tuple[Any, ...]]] = {
    "indent": _check_indent,
    "join": _check_join,
    "replace": _check_replace,
    "round": _check_round,
    "string": _check_string,
    "trim": _check_trim,
}


def _format(text: str, *args: Any, **kwargs: Any) -> Any:
    return bounds.percent(str(text), kwargs or args)


def _sum(values: Iterable[Any], start: Any = 0) -> Any:
    return functools.reduce(bounds.add, values, start)  # Python's own would add lists in one long step


def _tojson(value: Any, indent: int | None = None, sort_keys: bool = False, separators: Any = None) -> str:
    # Jinja's own filter escapes for HTML, which models are not trained on.
    if (indent is not None and not 0 <= indent <= 16) or bounds.weigh(separators) > 64:
        raise TemplateLimitError("it writes JSON with too much white space")
    return json.dumps(value, ensure_ascii=False, indent=indent, sort_keys=sort_keys, separators=separators)
