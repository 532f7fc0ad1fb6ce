"""A paramiko transport that says nothing more on a channel once it has closed it.

paramiko answers a server's close in one thread while another may be about to send the end of the
input, or its last bytes. Servers take a message for a channel that is no more for a broken
connection and hang up (RFC 4254, section 5.3), with all other channels on it: seen with commands
that end before their input does. Belongs here: that order. Does not belong here: connecting
(`dialling`), channels (`channels`).
"""

from __future__ import annotations

import threading
from typing import Any

import paramiko

# Message numbers of RFC 4250, section 4.1.2.
FIRST, LAST = 93, 100  # what is said on an open channel: from WINDOW_ADJUST to CHANNEL_FAILURE
CLOSE = 97
NUMBER = 4  # bytes of a channel's number


class OrderlyTransport(paramiko.Transport):  # type: ignore[misc]  # paramiko has no types
    """As paramiko's; messages that come too late are dropped."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._order = threading.Lock()
        self._closed_channels: set[bytes] = set()  # by the server's numbers

    def _send_user_message(self, data: Any) -> None:
        """Called by paramiko for everything that is said on a channel."""
        content = data.asbytes()
        if not FIRST <= content[0] <= LAST:
            super()._send_user_message(data)
            return
        channel = content[1 : 1 + NUMBER]
        with self._order:
            if channel in self._closed_channels:
                return
            if content[0] == CLOSE:
                self._closed_channels.add(channel)
            super()._send_user_message(data)

    def _parse_channel_open_success(self, m: Any) -> None:
        """Called by paramiko in its own thread; a server gives numbers again."""
        at = len(m.get_so_far()) + NUMBER  # behind our own number for the channel
        with self._order:
            self._closed_channels.discard(m.asbytes()[at : at + NUMBER])
        super()._parse_channel_open_success(m)
