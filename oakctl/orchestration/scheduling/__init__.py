"""Scheduling: where an instance runs, and why. Pure.

The pipeline is filter → score → (reserve, by the caller). `root` ranks clusters on their
aggregates, `cluster` chooses a worker, `aggregate` makes of workers what a root may see,
`policies` score. Every decision comes with verdicts whose reasons a user understands. Does not
belong here: reserving, storing or sending anything.
"""
