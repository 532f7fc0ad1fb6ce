"""Faults that are made on purpose, on any fleet, over SSH, and that undo themselves.

Everything is a client of `/v1`: commands go to hosts by its host runs, so that no root and no
host has to know of this room. What a fault does is decided by pure modules (`faults`, `targets`,
`means`, `possible`, `deeds`, `envelope`, `records`, `scenario`, `timeline`); `hosts`,
`carrying_out`, `probing` and `playing` carry it out. Power of a lab's hosts is handed in (`power`).
"""
