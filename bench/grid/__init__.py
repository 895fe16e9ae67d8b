"""Many trials: from planned trials to stored records, each in a process of its own. Free of torch but for what `warm` and timing load.

`engine`: a whole run, with resume. `process`: one trial in one process, under limits. `warm`: what the fork server loads once. `progress`:
what a run shows. `estimate`: how long it will take.
"""
