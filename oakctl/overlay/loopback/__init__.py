"""The loopback overlay: services of hosts that share one machine, reached on 127/8.

`driver` is used by the agent; `relay` is a process of its own that carries every connection and
datagram, so that the data plane works while the agent is away. They share two files (`files`).
Nothing here imports the relay's code into the agent, or more than the standard library into
the relay, which runs on every worker and should weigh little.
"""
