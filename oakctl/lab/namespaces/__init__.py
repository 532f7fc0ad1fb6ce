"""Light hosts: network namespaces on this machine, behind routers and NATs of their own.

The whole lab is inside one set of namespaces of its keeper, so that the machine's own network never
sees it, nothing of it outlives the keeper, and a user who is not root can have one. Its plan, its
addresses and its routers' rules are those of labs with real hosts (`lab.machines`). Does not belong
here: what runs on the hosts.
"""
