"""Orchestration: the planes of Oakestra and the decisions they share.

`scheduling`, `lifecycle` and `autoscale` are pure; `root`, `cluster` and `worker` are processes
around them; `bus` is how they reach each other.
"""
