"""The HTML around the values: templates, and two libraries that come in Python packages, put into the page so that it needs no network.

DataTables (in `itables`) makes the tables, Vega-Lite (in `vl-convert-python`) the plots. Their scripts, and ours, are named to the
browser by their hash: no other script in a page runs, whatever a name or a reason in the data may hold.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench.errors import UsageError

HERE = Path(__file__).parent
PACKAGES = {"jinja2": "jinja2", "itables": "itables", "vl_convert": "vl-convert-python"}  # module -> distribution
MARK = '<script type="application/json" id="bench-data">'
SCRIPTS = ("data", "address", "standings", "elements", "plots", "tables", "start")  # of ours, one after the other in one module
VEGA = "window.vegaEmbed = vegaEmbed;"


def check_can_render() -> None:
    """Raises: UsageError if a library of the extra `site` is not installed."""
    absent = [name for module, name in PACKAGES.items() if find_spec(module) is None]
    if absent:
        raise UsageError(f"a page to explore needs {', '.join(absent)}, not installed here; pip install 'missing-modality-bench[site]'")


def board_page(data: Mapping[str, Any]) -> str:
    """The page of one board. Raises: UsageError if the libraries are not installed."""
    check_can_render()
    scripts = [_tables(), _plots(), "\n".join(_own(f"explore/{name}.js") for name in SCRIPTS)]
    styles = [_table_style(), _own("explore.css")]
    return _rendered("board.html.jinja", data, scripts, styles, libraries=_libraries(), digest=digest(data))


def index_page(data: Mapping[str, Any]) -> str:
    """The page that lists several boards; it has no script. Raises: UsageError if the libraries are not installed."""
    check_can_render()
    return _rendered("index.html.jinja", data, [], [_own("explore.css")])


def digest(data: Mapping[str, Any]) -> str:
    """What a cited view names the numbers by: 12 hexadecimal digits of their hash."""
    return hashlib.sha256(json.dumps(data, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:12]


def data_in(page: str) -> Any:
    """The values that a page of ours holds. Raises: ValueError if it holds none."""
    _, found, rest = page.partition(MARK)
    if not found:
        raise ValueError("no data of ours in it")
    return json.loads(rest.partition("</script>")[0])


def _rendered(template: str, data: Mapping[str, Any], scripts: Sequence[str], styles: Sequence[str], **values: object) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from jinja2.utils import htmlsafe_json_dumps
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(HERE, encoding="utf-8"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True,
    )  # fmt: skip
    json_text = htmlsafe_json_dumps(data, sort_keys=True, separators=(",", ":"))
    return environment.get_template(template).render(
        data=data, mark=Markup(MARK), json=json_text, scripts=[Markup(text) for text in scripts], styles=[Markup(text) for text in styles],
        policy=_policy(scripts), **values,
    )  # fmt: skip


def _policy(scripts: Sequence[str]) -> str:
    """What a browser may do for the page: run these scripts, and load nothing."""
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in scripts)
    return f"default-src 'none'; script-src {hashes or chr(39) + 'none' + chr(39)}; style-src 'unsafe-inline'; img-src data:"


def _own(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


@cache
def _tables() -> str:
    """DataTables as a module that gives itself to the window."""
    code = (_itables() / "dt_bundle.js").read_text(encoding="utf-8")
    exported = re.search(r"export\s*\{[^}]*?([\w$]+) as default[^}]*\};?", code)
    if exported is None:
        raise UsageError(f"itables {version('itables')} exports its DataTables otherwise than expected; pip install 'itables<3'")
    return _inline(code[: exported.start()] + f"window.DataTable={exported[1]};" + code[exported.end() :])


@cache
def _table_style() -> str:
    return (_itables() / "dt_bundle.css").read_text(encoding="utf-8")


def _itables() -> Path:
    spec = find_spec("itables")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "html"


@cache
def _plots() -> str:
    """Vega, Vega-Lite and Vega-Embed as a module that gives the last to the window."""
    import vl_convert

    return _inline(vl_convert.javascript_bundle(VEGA))


def _inline(code: str) -> str:
    """A script as it may stand in HTML: nothing in it closes its element or opens a comment."""
    return re.sub(r"<(?=/script|!--|script)", r"\\x3C", code, flags=re.IGNORECASE)


def _libraries() -> list[str]:
    import vl_convert

    return [
        f"DataTables and jQuery, MIT licence, from itables {version('itables')}",
        f"Vega {vl_convert.get_vega_version()}, Vega-Lite {vl_convert.get_vegalite_versions()[-1]} and Vega-Embed "
        f"{vl_convert.get_vega_embed_version()}, BSD 3-clause licence, from vl-convert-python {version('vl-convert-python')}",
    ]
