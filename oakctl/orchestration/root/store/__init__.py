"""The root's state in SQLite: one module per idea, every function takes the open database.

Belongs here: rows in, rows out, and nothing that decides. Does not belong here: secrets (those
are files, `root.credentials`) and what clusters report (that is kept in memory).
"""
