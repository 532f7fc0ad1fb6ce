"""The kernel overlay: service addresses by nftables, an interface of its own for each instance.

`ranking`, `planning`, `elements`, `ruleset`, `flows` and `cables` are pure: what shall be, and the
text or the commands that make it so. `nft`, `conntrack`, `host` and `driver` carry that out. There
is no process of ours in the data plane: the kernel goes on when the agent is away. Does not
belong here: who runs where, and which tables a node gets.
"""
