"""The root orchestrator: what is wanted, durably; who gets it; links to the clusters.

Belongs here: the store (SQLite), delegation, links, operations on hosts. Does not belong here:
HTTP (`oakctl.api`), how a node is chosen (`scheduling`), what is done over SSH (`oakctl.remote`).
"""
