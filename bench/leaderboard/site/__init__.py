"""One page to explore a board, and one that lists several: plain HTML that opens from a file, without a network. Free of torch.

`data`: what a page shows, as values, from table, tests and records alone. `page`: the HTML around them. `files`: writing and checking
a site. Beside them lie the templates (`*.jinja`), the page's script (`explore/*.js`) and its style (`explore.css`).
"""

from bench.leaderboard.site.data import site_data
from bench.leaderboard.site.files import CheckedSite, PageMismatch, checked_site, is_site, published_data, results_data, write_site

__all__ = ["CheckedSite", "PageMismatch", "checked_site", "is_site", "published_data", "results_data", "site_data", "write_site"]
