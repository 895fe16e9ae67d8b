"""Leaderboards from records and predictions alone. Free of torch.

`scores`: what the trials of a method gave. `significance`: which differences are real. `standing`: who is better than whom, and than the
floor, in a setting. `robustness`, `surface`: score over noise, and under many masks. `origin`: where it all comes from. `rows`: the board
as values. `board`: how it is made. `groups`: scores told apart by groups of samples,
`group_page`: how these are shown. `printed`: numbers of others. `front_page`, `setting_page`, `page_parts`, `tables`: how they are
shown. `widths`: tables that fit a page. `plots`: what is drawn, `drawers`, `heat_maps`: how. `files`: which file shows what. `folder`:
publishing and checking. `site`: a page to explore, loaded where one is made or checked. `bundling`, `joining`: what is sent to others, and
what they sent. `uniting`: boards of more datasets from folders of fewer.
"""

from bench.leaderboard.board import build
from bench.leaderboard.folder import board_of, checked, publish, render, rescore, revealed, stale_files, withheld, write
from bench.leaderboard.front_page import markdown, pages
from bench.leaderboard.robustness import Curve, CurveRow
from bench.leaderboard.rows import NOT_AUDITED, Board, Overall, OverallRow, Row, SettingTable
from bench.leaderboard.significance import Across, Family, PairTest, Place
from bench.leaderboard.tables import significance_json, surface_csv, table_csv, table_tex
from bench.text import finite

__all__ = [
    "NOT_AUDITED", "Across", "Board", "Curve", "CurveRow", "Family", "Overall", "OverallRow",
    "PairTest", "Place", "Row", "SettingTable", "board_of", "build", "checked", "finite", "markdown", "pages", "publish", "render",
    "rescore", "revealed", "significance_json", "stale_files", "surface_csv", "table_csv", "table_tex", "withheld", "write",
]  # fmt: skip
