"""Real Debian hosts on one Linux machine: namespaces, routers with NAT, systemd in each host.

Belongs here: making such hosts and the networks between them, and taking them away. The plan
(`lab_file`, `topology`, `rules`, `recipe`, `boot`) is pure; `shell`, `sources`, `image`,
`network`, `machine` carry it out; `lab` is what others call. Does not belong here: what is
installed on the hosts (`remote`).
"""
