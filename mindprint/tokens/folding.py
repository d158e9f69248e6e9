"""The constants of a chat template, worked out as jinja2 does while it compiles, but counted."""

from __future__ import annotations

import re
from typing import Any

from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

MAX_NUMBER = 1_000_000
"""Of a number in a template: repeating a text so often already makes megabytes."""
MAX_TIMES = 1_000
"""Of a factor of what is known only while rendering; indents take a few."""
MAX_WIDTH = 10_000
"""Of a number given to a filter, which fills text up to it."""
MAX_FOLDED = 10_000_000
"""Characters that all constants of a template may be worked out from and to, together."""

_FLAGS = r"[-#0 +]*"
_SPEC = r"\{[\w.\[\]]*(?:![rsa])?:"  # how a field of `str.format` begins; no object of JSON does
# A width or precision of five digits, or one that comes from elsewhere.
_WIDE = re.compile(
    rf"%(?:\(\w*\))?{_FLAGS}\d*\.?(?:\d{{5}}|\*)"
    rf"|{_SPEC}(?:.?[<>=^])?{_FLAGS}\d*\.?\d{{5}}"
    rf"|{_SPEC}[^\s\"'{{}}]*\{{"
)
_WIDTH = re.compile(r"[%:][-#0 +.<>=^]*(\d{1,4})")
_DIGITS = re.compile(r"\d{7}")
_BLOCKS: tuple[type[nodes.Stmt], ...] = (
    nodes.AssignBlock,
    nodes.Macro,
    nodes.FilterBlock,
    nodes.CallBlock,
)
_UNKNOWN: tuple[type[nodes.Expr], ...] = (nodes.Name, nodes.Call, nodes.NSRef)


class Wasteful(Exception):
    """What a template would waste, in words."""


class _Generation(Extension):
    """transformers' own tag around what the assistant says."""

    tags = {"generation"}  # noqa: RUF012  # as jinja2 declares it

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


def check_constants(template: str) -> None:
    """Raises Wasteful for the first constant, or factor, that could take long to work out, and
    jinja2.TemplateSyntaxError for what transformers could not compile either."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    tree = environment.parse(template)
    for block in tree.find_all(_BLOCKS):  # what they hold is text to format with, as a literal is
        for data in block.find_all(nodes.TemplateData):
            if _WIDE.search(data.data):
                raise _waste(data, "fills text up to a width beyond what can be meant")
    _Folding().visit(tree, nodes.EvalContext(environment))


class _Folding(NodeTransformer):
    """Jinja2's optimizer: from the leaves up, what is constant is worked out and put in its place.
    Here the size of each step is known before the step is taken."""

    def __init__(self) -> None:
        self._left = MAX_FOLDED

    def generic_visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> nodes.Node:
        super().generic_visit(node, *args, **kwargs)
        if not isinstance(node, nodes.Expr) or isinstance(node, nodes.TemplateData):
            return node  # what is only written out may hold whatever it likes
        self._check(node)
        try:
            made = nodes.Const.from_untrusted(node.as_const(args[0]), lineno=node.lineno)
        except (nodes.Impossible, TypeError):  # TypeError: a list for a key; rendering says so
            return node
        if not isinstance(node, nodes.Const):
            self._literal(made)
        return made

    def _check(self, node: nodes.Expr) -> None:
        unknown = isinstance(node, _UNKNOWN) or next(node.find_all(_UNKNOWN), None) is not None
        constant = not unknown
        if isinstance(node, nodes.Pow):
            raise _waste(node, "raises a number to a power")
        if isinstance(node, nodes.Const):
            self._literal(node)
        elif isinstance(node, nodes.Name) and node.name == "lipsum":
            raise _waste(node, "makes up text (`lipsum`)")
        elif isinstance(node, nodes.Mul):
            self._product(node, constant)
        elif isinstance(node, nodes.Filter):
            self._filter(node, constant)
        elif constant and isinstance(node, nodes.Add | nodes.Concat | nodes.Mod):
            self._spend(node, sum(map(_length, node.iter_child_nodes())))

    def _literal(self, node: nodes.Const) -> None:
        value = node.value
        if isinstance(value, int | float) and abs(value) > MAX_NUMBER:
            raise _waste(node, f"holds a number above {MAX_NUMBER:,}")
        if isinstance(value, str):
            if _WIDE.search(value):
                raise _waste(node, "fills text up to a width beyond what can be meant")
            if _DIGITS.search(value):
                raise _waste(node, "holds a text with a number of seven digits or more")
            self._spend(node, sum(int(width) for width in _WIDTH.findall(value)))

    def _product(self, node: nodes.Mul, constant: bool) -> None:
        sides = (node.left, node.right)
        if constant:
            self._spend(node, _extent(node.left) * _extent(node.right))
        elif any(isinstance(side, nodes.Mul) or side.find(nodes.Mul) for side in sides):
            raise _waste(node, "multiplies what is multiplied already")
        elif any(_number(side) > MAX_TIMES for side in sides):
            raise _waste(node, f"repeats something more than {MAX_TIMES:,} times")

    def _filter(self, node: nodes.Filter, constant: bool) -> None:
        given = [*node.args, *(pair.value for pair in node.kwargs)]
        if node.name not in {"default", "d"} and any(_number(one) > MAX_WIDTH for one in given):
            raise _waste(node, f"gives `{node.name}` a number above {MAX_WIDTH:,}")
        if constant and node.node is not None:
            size = _extent(node.node)
            for one in given:
                size *= _extent(one)
            self._spend(node, size)

    def _spend(self, node: nodes.Node, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise _waste(node, f"works out more than {MAX_FOLDED:,} characters of constants")


def _extent(node: nodes.Node) -> int:
    """How often, or how long, a constant expression may make something; at least 1."""
    if isinstance(node, nodes.Const):
        number = _number(node)
        return max(1, int(number) if number else _length(node))
    size = 1
    for child in node.iter_child_nodes():
        size *= _extent(child)
    return size


def _length(node: nodes.Node) -> int:
    """Characters of a constant; of one that is worked out only where it is used, a bound."""
    if not isinstance(node, nodes.Const):
        return _extent(node)
    return len(node.value) if isinstance(node.value, str) else len(repr(node.value))


def _number(node: nodes.Node) -> float:
    """The size of a constant number; 0 for everything else."""
    value = node.value if isinstance(node, nodes.Const) else None
    return abs(value) if isinstance(value, int | float) else 0


def _waste(node: nodes.Node, what: str) -> Wasteful:
    return Wasteful(f"{what} (line {node.lineno})")
