"""Writes the golden pages anew. Look at the difference before you commit it: python tests/support/make_golden.py"""

import importlib.util
from pathlib import Path

specification = importlib.util.spec_from_file_location("made", Path(__file__).parents[1] / "leaderboard" / "test_leaderboard.py")
made = importlib.util.module_from_spec(specification)
specification.loader.exec_module(made)
made.GOLDEN.write_text(made.golden(), encoding="utf-8")
