"""`/v1`: the root over HTTP on a Unix socket.

Belongs here: routes, errors and streams as JSON, and the process that serves them. Does not
belong here: what an answer is made of (`orchestration.root`), or the client (`oakctl.client`).
"""
