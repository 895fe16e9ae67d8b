"""missing-modality-bench: trustworthy comparison of methods that predict with missing modalities."""

from __future__ import annotations

from pathlib import Path

__version__ = "0.1.0"

# In a checkout the folders methods/ and datasets/ stand beside bench/; a wheel holds them inside it. Both are imported as
# bench.methods and bench.datasets.
_root = Path(__file__).resolve().parent.parent
if not (Path(__file__).parent / "methods").exists() and (_root / "methods").exists() and (_root / "pyproject.toml").exists():
    __path__.append(str(_root))

_API = (
    "run", "dataset", "results", "evaluations", "board", "compare", "show", "check_data", "reproduce", "profile", "audit", "tune",
    "analyze", "export", "load_weights", "bundle", "verify", "merge",
)  # fmt: skip


def __getattr__(name: str):
    """The notebook functions load their machinery on first use, so that `import bench` stays light."""
    if name in _API:
        from bench import api

        return getattr(api, name)
    raise AttributeError(f"module 'bench' has no attribute {name!r}")
