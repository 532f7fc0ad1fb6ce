"""oakctl: an edge cloud from one terminal.

This package root holds the version and nothing else; importing it imports nothing.
"""

__version__ = "0.1.0"
