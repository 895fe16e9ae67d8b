"""What came of it: answers, and the files that hold them. Free of torch.

`record`: what is known of one trial or audit. `predictions`: scores of test rows, and their bytes. `answers`: records as tables name them.
`database`: a results folder. `folder`: a published one. `provenance`: where a number came from.
"""
