"""The cluster orchestrator: the bus server's configuration, and the process beside it.

`process.main` is where it starts; `core` is where its state changes; `offers`, `shares`,
`reports`, `membership`, `sweep`, `tables` and `desired` are the rules, pure; `root_desk` and
`worker_desk` are where messages come in; `uplink` and `outbox` are what goes up to the root.
"""
