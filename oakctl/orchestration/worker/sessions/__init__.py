"""Sessions with instances on this node: a command, files, a connection to a port.

Belongs here: what a session does with its bytes. Does not belong here: how they travel
(`orchestration.sessions`), or Docker's side of it (`worker.docker.exec`).
"""
