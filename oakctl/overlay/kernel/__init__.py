"""The kernel overlay: service addresses by nftables, an interface of its own for each instance.

`ranking`, `planning`, `elements`, `ruleset`, `flows`, `cables`, `forwarding`, `peers` and
`liveness` are pure: what shall be, and the text or the commands for it. `nft`, `conntrack`,
`tunnel`, `probes`, `host` and `driver` carry that out. Of direct paths between nodes `paths`,
`endpoints`, `ways`, `words` and `reporting` are pure, `pathfinder` and `measuring` are not. No
process of ours is in the data plane: it goes on when the agent is away. Does not belong here: who
runs where, and which tables a node gets.
"""
