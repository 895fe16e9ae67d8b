"""Writes the golden page anew. Look at the difference before you commit it: python tests/bench/make_golden.py"""

import importlib.util
from pathlib import Path

from bench.leaderboard import markdown

specification = importlib.util.spec_from_file_location("made", Path(__file__).with_name("test_leaderboard.py"))
made = importlib.util.module_from_spec(specification)
specification.loader.exec_module(made)
made.GOLDEN.write_text(markdown(made.board_of(*made.full(), audits=made.AUDITS)), encoding="utf-8")
