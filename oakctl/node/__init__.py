"""The node archive's entry points: `python3 oakctl-node.pyz worker|cluster|relay|unit|clear|...`.

Belongs here: turning an argument list into a call of one process, and the client of the plain
supervisor. Does not belong here: what those processes do. Each is imported only when it is
asked for, so that none pays for another's memory.
"""
