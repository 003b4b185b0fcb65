"""Images in tar shards: many small files as few large ones, read where they lie.

A folder whose images are packed has a folder ``packed`` with ``shard-000000.tar``, … and ``index.bin``, which is
written last: without it there are no packed images. The shards are plain tar files of the images under the names that
rows use (WebDataset's layout: https://github.com/webdataset/webdataset; ``tar`` lists and unpacks them); the index says
where in which shard each begins. Rows stay JSON Lines beside them. What a dataset is known by is its content, packed or
not.
"""
