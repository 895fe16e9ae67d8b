"""What a method gets to see: who hides what, splits, scaling, sealed batches; and what a dataset is like. Free of torch.

`protocol`: what rules hide, and the masks they draw. `terms`: the pieces of a rule. `grammar`: from text to rules. `loading`: a dataset's
samples, read once. `attributes`: the groups that its samples are in.
`splits`: which rows are in which part, and what to know of them. `parts`: train, valid and test as a method sees them.
`learning`: what a dataset learns on the training rows. `moments`: mean and spread from those of rows. `missingness`: what the gaps say.
`card`: a page about a dataset. `checkup`: what could make its numbers say something else than they seem; `twins`: rows that look like one
patient's; `single_columns`: columns that tell all, or nothing. `files`: datasets that come as files. `draft`: a description of a user's
own files, guessed; of these, `sources`: which column names the samples, `inputs`: which columns are inputs, and as what.
"""
