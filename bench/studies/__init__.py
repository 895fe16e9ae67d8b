"""Runs that look at what came and decide what to run next. Free of torch itself.

`space`: what a tuner may try. `study`: one study, its journal and its budget. `tuning`: all studies of a suite. `results`: best score
against budget, with a table. `curves_plot`: that as a picture. `looks`: seeds where a pair is undecided.
`forecast`: what a run would do, and how long it would take.
"""
