"""What `bench new` writes as code: a working method or dataset, its test, and the lines that list it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from bench.errors import UsageError
from bench.registry import method_names

METHOD = '''"""{title}: the idea in one line (venue year).

Idea:    two or three sentences a newcomer understands.
Source:  paper section and equations; official code owner/name, file.
Differs: what this does otherwise than the official code, and why.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from bench.datasets.base import Batch, Schema
from bench.methods.base import Method, MethodConfig, Prediction
from bench.methods.encoders import Encoders


@dataclass(frozen=True, kw_only=True)
class Config(MethodConfig):
    """Settings of {title}; every field says which symbol of the paper it is and where its default comes from."""

    tokens: int = 1  # tokens per modality
    width: int = 64  # D


class {title}(Method):
    """Mean of the observed modalities' embeddings, then a linear head. Replace this with your method."""

    Config = Config
    presets = {{"paper": {{}}}}

    def __init__(self, schema: Schema, config: Config) -> None:
        super().__init__(schema, config)
        self.encoders = Encoders(schema, config.tokens, config.width)
        self.head = nn.Linear(config.width, schema.outputs)

    def forward(self, batch: Batch) -> Prediction:
        tokens = self.encoders(batch)  # (B, M, T, D), zero where not observed
        observed = batch.observed.sum(1, keepdim=True).clamp(min=1)  # (B, 1)
        return Prediction(self.head(tokens.mean(2).sum(1) / observed))
'''

TEST = '''"""{title} keeps the contract. Run with: pytest {test}"""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import torch

from bench.datasets.base import Modality, Samples, Schema, as_batch

FILE = Path(__file__).parent / {source!r}
specification = importlib.util.spec_from_file_location("{module}_under_test", FILE)
module = importlib.util.module_from_spec(specification)
sys.modules[specification.name] = module  # dataclasses look their module up
specification.loader.exec_module(module)


def batch_of(rows=6):
    rng = np.random.default_rng(0)
    schema = Schema((Modality("one", "A", "vector", (4,)), Modality("two", "B", "vector", (3,))), ("no", "yes"))
    values = {{m.name: rng.normal(size=(rows, *m.shape)).astype(np.float32) for m in schema}}
    observed = np.array([[True, True], [True, False], [False, True]] * (rows // 3))
    ids = np.array([f"row{{i}}" for i in range(rows)])
    return schema, as_batch(Samples(schema, values, observed, np.arange(rows) % 2, ids))


def test_logits_are_finite_with_hidden_cells_sealed():
    schema, batch = batch_of()
    method = module.{title}(schema, module.{title}.Config())
    method.seed(0)
    logits = method(batch).logits
    assert logits.shape == (6, 2)
    assert torch.isfinite(logits).all()


def test_gradient_reaches_every_parameter():
    schema, batch = batch_of()
    method = module.{title}(schema, module.{title}.Config())
    prediction = method(batch)
    loss = method.loss(prediction, batch) + sum(prediction.penalties.values())
    loss.backward()
    assert [name for name, parameter in method.named_parameters() if parameter.grad is None] == []
'''


DATASET = '''"""{title}: what is told from what, in one line.

Source:     who collected the data and where they are described.
Licence:    who may use them.
Modalities: the letters in their order and what is measured; how many samples and classes.
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_wine

from bench.datasets.base import Dataset, Modality, Samples, Schema


class {title}(Dataset):
    """Wines of three growers by their chemistry. Replace this with your data."""

    title = "{name} (real)"
    source = "UCI Wine, Aeberhard and Forina 1991, as shipped by scikit-learn"
    licence = "CC BY 4.0"

    def load(self) -> Samples:
        # A file beside this one: Path(__file__).parent / "labs.csv"
        bunch = load_wine()
        x = bunch.data.astype(np.float32)  # raw values: splitting, scaling and hiding are the suite's work
        schema = Schema((Modality("acids", "A", "vector", (6,)), Modality("colour", "C", "vector", (7,))), ("one", "two", "three"))
        values = {{"acids": x[:, :6], "colour": x[:, 6:]}}  # (N, *shape) float32; single features may be NaN
        observed = np.ones((len(x), len(schema)), dtype=bool)  # (N, M); False where a sample lacks a modality
        ids = np.array([f"wine-{{row}}" for row in range(len(x))])  # (N,), unique
        # groups=... keeps the rows of one patient together; split=... names the official part of each row
        return Samples(schema, values, observed, bunch.target.astype(np.int64), ids)
'''

DATASET_TEST = '''"""{title} keeps the contract. Run with: pytest {test}"""

import importlib.util
import sys
from pathlib import Path

import numpy as np

FILE = Path(__file__).parent / {source!r}
specification = importlib.util.spec_from_file_location("{module}_under_test", FILE)
module = importlib.util.module_from_spec(specification)
sys.modules[specification.name] = module
specification.loader.exec_module(module)


def test_the_same_samples_come_again():
    first, second = module.{title}().load(), module.{title}().load()
    assert first.fingerprint() == second.fingerprint()


def test_every_class_has_samples_to_split():
    samples = module.{title}().load()
    assert np.bincount(samples.target, minlength=len(samples.schema.classes)).min() >= 10


def test_what_is_observed_holds_values():
    samples = module.{title}().load()
    assert samples.without_blanks().blank == {{}}
'''


def write_method(name: str, folder: Path) -> tuple[list[Path], str]:
    """Write the template and its test into a folder; returns the files and the class name. Raises: UsageError, overwriting nothing."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise UsageError(f"a method name is lower case words joined by hyphens, such as my-method, got {name!r}")
    if name in method_names():
        raise UsageError(f"a method {name!r} exists already; choose another name")
    module = name.replace("-", "_")
    in_checkout = (folder / "methods" / "catalog.py").exists()
    source = folder / "methods" / f"{module}.py" if in_checkout else folder / f"{module}.py"
    test = folder / "tests" / "methods" / f"test_{module}.py" if in_checkout else folder / f"test_{module}.py"
    return _write(METHOD, TEST, source, test, f"../../methods/{module}.py" if in_checkout else source.name)


def write_dataset(source: Path) -> tuple[list[Path], str]:
    """Write the template and its test; returns the files and the class name. Raises: UsageError, overwriting nothing.

    In a checkout, `datasets/NAME.py`, the test goes to `tests/datasets/`; elsewhere it stands beside the file.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", source.stem):
        raise UsageError(f"a dataset file is named in lower case words joined by underscores, such as my_data.py, got {source.name!r}")
    in_checkout = (source.parent / "catalog.py").exists()
    folder = source.parent / ".." / "tests" / "datasets" if in_checkout else source.parent
    return _write(
        DATASET,
        DATASET_TEST,
        source,
        Path(os.path.normpath(folder / f"test_{source.name}")),
        f"../../datasets/{source.name}" if in_checkout else source.name,
    )


def _write(code: str, claims: str, source: Path, test: Path, relative: str) -> tuple[list[Path], str]:
    """Fill in both templates; `relative` leads from the test to the code."""
    module = source.stem
    title = "".join(word.capitalize() for word in module.split("_"))
    for path in (source, test):
        if path.exists():
            raise UsageError(f"{path} exists already; move it away or choose another name")
    try:
        source.write_text(code.format(title=title, name=module.replace("_", " ")), encoding="utf-8")
        test.write_text(claims.format(title=title, module=module, source=relative, test=test), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"the template cannot be written: {error}") from None
    return [source, test], title
