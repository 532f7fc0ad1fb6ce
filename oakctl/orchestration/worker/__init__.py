"""The node agent: runs what its cluster wants, tells what it sees.

`reconcile` is the pure core: documents and observations in, actions out. Around it: `agent`
(the process's loops), `link` (the bus), `instances` (carrying actions out), and the drivers for
processes, artifacts, limits and logs. Nothing here decides where something runs.
"""
