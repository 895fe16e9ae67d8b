"""A user's own tables, images and arrays as a dataset, described in a file without code.

`description`: the file as values, read and written. `cells`: texts of cells as numbers, dates and categories. `sheets`: table files as
texts. `rows`: which rows of a table belong to which sample. `dataset`: the dataset that a description makes. `frames`: the same from
pandas frames. `guess`: what a column holds, for `bench new dataset`. `written`: how its numbers and dates are written. `words`:
counts in what is noted.
"""
