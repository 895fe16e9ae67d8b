"""What came of it: answers, and the files that hold them. Free of torch.

`record`: what is known of one trial or audit. `facts`: of its training and test, and of the code and machine behind it. `shared`: many
records in little memory. `predictions`: what a method gave for test rows. `arrays`: their bytes in the database. `attributes`: the groups
of their rows. `stacked`: those in a published folder. `bits`: two of them side by side. `scoring`: the metrics of that. `reached`: how
far a training has come. `answers`: a question with its records, as tables name them. `public`: the same without the paths of this machine
and private ids. `ids`: what stands in the place of these. `database`: a results folder. `merging`: several of them as one. `reading`: its
file where nobody may write. `glance`: which trials it holds, for a shell. `folder`: a published one. `pieces`: its large files, cut.
`kept`: files beside the database. `export`: flat tables. `provenance`: this code and machine. `page`: everything about one trial.
`bundle`, `unpacking`, `strict`: records in one file, and how that of a stranger is read. `verification`: what came of looking at it.
"""
