"""The overlay: how services reach each other by address, wherever they run.

`addressing` and `plan` are pure and know overlay addresses only; `loopback` is the driver for
hosts that share one machine. Does not belong here: who runs where.
"""
