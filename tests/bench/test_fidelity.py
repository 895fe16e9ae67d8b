"""The page of fidelity says what the classes say."""

from pathlib import Path

import pytest

from bench import registry
from bench.fidelity import page
from bench.methods.catalog import PAPER

ROOT = Path(__file__).parent.parent.parent


def test_committed_page_is_what_the_classes_state():
    committed = (ROOT / "docs" / "fidelity.md").read_text(encoding="utf-8")
    assert committed == page(), "docs/fidelity.md is stale: python -m bench.fidelity > docs/fidelity.md"


@pytest.mark.parametrize("name", PAPER)
def test_every_preset_and_deviation_is_on_the_page(name):
    section = page().split(f"## {name}\n")[1].split("\n## ")[0]
    cls = registry.method_class(name)
    assert cls.paper
    assert cls.repository
    assert cls.deviations
    for preset in cls.presets:
        assert f"`{name}@{preset}`" in section
    assert section.count("\n- ") == len(cls.deviations)
