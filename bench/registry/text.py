"""Source text as it counts for a version: the same digest on every Python from 3.11 on, whatever its comments and its layout.

What parsers print of a program changes from one Python to the next: `ast.unparse` and `ast.dump` did, and f-strings became tokens of
their own. So nothing is printed: the tokens that stand in the text are kept as they stand, an f-string as one of them, and what moves
no number is cut out by its position.
"""

from __future__ import annotations

import ast
import hashlib
import io
import token
import tokenize
from collections.abc import Iterator
from functools import lru_cache

FACTS = ("paper", "year", "repository", "deviations", "search", "traces")  # what a method's class says of itself, and no computation reads
STATED_BY = ("Method", "Estimator", "Ceiling")  # the bases of such a class
SILENT = {token.COMMENT, token.NL, token.ENCODING, token.ENDMARKER, token.TYPE_COMMENT, token.TYPE_IGNORE}
HAS_DOCSTRING = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
OPENING = {getattr(token, name) for name in ("FSTRING_START", "TSTRING_START") if hasattr(token, name)}
CLOSING = {getattr(token, name) for name in ("FSTRING_END", "TSTRING_END") if hasattr(token, name)}
Place = tuple[int, int]  # line from 1, column in characters from 0


@lru_cache(maxsize=4096)
def digest(source: str) -> str:
    """SHA-256 of what counts in a source text. Raises: SyntaxError."""
    return hashlib.sha256(canonical(source).encode()).hexdigest()


def canonical(source: str) -> str:
    """The tokens of a source text, a logical line a row, without comments, docstrings, layout, and what a class only states (FACTS).

    >>> print(canonical("def twice( x ):  # why\\n    '''Doc.'''\\n    return 2*x"))
    def twice ( x ) :
    {
    return 2 * x
    }

    Raises: SyntaxError.
    """
    source = source.replace("\r\n", "\n").replace("\r", "\n")
    cuts = sorted(_cuts(ast.parse(source), source.split("\n")), reverse=True)
    rows: list[list[str]] = [[]]
    for start, kind, text in _tokens(source):
        while cuts and cuts[-1][1] <= start:
            cuts.pop()
        if cuts and cuts[-1][0] <= start:
            continue
        if kind in (token.INDENT, token.DEDENT):
            rows += [["{" if kind == token.INDENT else "}"], []]
        elif kind == token.NEWLINE:
            rows.append([])
        else:
            rows[-1].append(text)
    return "\n".join(" ".join(row) for row in rows if row)


def _tokens(source: str) -> Iterator[tuple[Place, int, str]]:
    """Start, kind and text of each token that is seen; an f-string is one, as it stands in the text."""
    lines = source.split("\n")
    depth, opened = 0, (0, 0)
    for found in tokenize.generate_tokens(io.StringIO(source).readline):
        if found.type in OPENING:
            opened = opened if depth else found.start
            depth += 1
        elif found.type in CLOSING:
            depth -= 1
            if not depth:
                yield opened, token.STRING, _between(lines, opened, found.end)
        elif not depth and found.type not in SILENT:
            yield found.start, found.type, found.string


def _between(lines: list[str], start: Place, end: Place) -> str:
    (first, left), (last, right) = start, end
    if first == last:
        return lines[first - 1][left:right]
    return "\n".join([lines[first - 1][left:], *lines[first : last - 1], lines[last - 1][:right]])


def _cuts(tree: ast.Module, lines: list[str]) -> Iterator[tuple[Place, Place]]:
    """Where docstrings and stated facts begin and end."""
    read = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        cut: list[ast.stmt] = []
        if isinstance(node, HAS_DOCSTRING) and ast.get_docstring(node, False) is not None:
            cut.append(node.body[0])
        if isinstance(node, ast.ClassDef) and any(_last_name(base) in STATED_BY for base in node.bases):
            cut += [statement for statement in node.body if _fact_of(statement) not in {None, *read}]
        for statement in cut:
            assert statement.end_lineno is not None
            assert statement.end_col_offset is not None
            yield _place(lines, statement.lineno, statement.col_offset), _place(lines, statement.end_lineno, statement.end_col_offset)


def _place(lines: list[str], line: int, column: int) -> Place:
    """A parser counts columns in bytes of UTF-8, a tokenizer in characters."""
    return line, len(lines[line - 1].encode()[:column].decode())


def _last_name(node: ast.expr) -> str | None:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else None


def _fact_of(statement: ast.stmt) -> str | None:
    """The fact that a statement of a class states, if that is all it does."""
    if isinstance(statement, ast.Assign):
        target = statement.targets[0] if len(statement.targets) == 1 else None
    else:
        target = statement.target if isinstance(statement, ast.AnnAssign) else None
    return target.id if isinstance(target, ast.Name) and target.id in FACTS else None
