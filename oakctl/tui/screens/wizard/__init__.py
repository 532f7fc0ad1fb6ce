"""The wizard's screens: one decision on each."""
