"""Hosts to try it on: machines that answer SSH, made on this one.

Belongs here: making such hosts, keeping them, and taking them away without a trace. Does not
belong here: what is installed on them; `remote` treats them like any other host.
"""
