"""What a method gets to see: who hides what, splits, scaling, sealed batches; and what a dataset is like. Free of torch.

`protocol`: what rules hide, and the masks they draw. `terms`: the pieces of a rule. `grammar`: from text to rules. `loading`: a dataset's
samples, read once. `splits`: which rows are in which part, and what to know of them. `parts`: train, valid and test as a method sees them.
`moments`: mean and spread from those of rows. `learning`: what a dataset learns on the training rows. `missingness`: what the gaps say.
`card`: a page about a dataset. `files`: datasets that come as files.
"""
