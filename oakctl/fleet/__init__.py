"""A fleet from a file: what `fleet.yaml` says, how it differs from what is there, making it so.

Belongs here: the file, the pure difference, and carrying it out through `/v1`. Does not belong
here: anything that speaks SSH (`oakctl.remote`, behind the root), and what is printed (`cli`).
"""
