"""docs/sources/fidelity.py: the page of fidelity says what the classes say."""

import pytest

from bench import registry
from bench.methods.catalog import PAPER


@pytest.mark.parametrize("name", PAPER)
def test_every_preset_and_deviation_is_on_the_page(name, source):
    section = source("fidelity").page().split(f"## {name}\n")[1].split("\n## ")[0]
    cls = registry.method_class(name)
    assert cls.paper
    assert cls.repository
    assert cls.deviations
    for preset in cls.presets:
        assert f"`{name}@{preset}`" in section
    assert section.count("\n- ") == len(cls.deviations)
