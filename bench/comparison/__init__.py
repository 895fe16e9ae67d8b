"""Method A against method B: whether a difference is real, how large, and what it says in words. Free of torch.

`differences`: the numbers as values. `belonging`: which records belong together, and refusals. `compare`: the tests. `masks`:
what each test row observed. `page`: the comparison in words. `aa`: one method under two names, a test of the tests.
"""
