"""Feeding what an SSH client sends into a pipe or terminal.

asyncio's write pipes report their end twice when the last bytes and the end of file arrive
together (`_UnixWritePipeTransport._write_ready`), so the few lines are our own. Does not belong
here: the other direction, which asyncssh does well.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
import termios

import asyncssh

CHUNK = 65536  # bytes


async def feed(source: asyncssh.SSHReader[bytes], target: int) -> None:
    """Copy until the client sends no more or nobody reads; closes `target` in any case."""
    os.set_blocking(target, False)
    try:
        while True:
            try:
                data = await source.read(CHUNK)
            except asyncssh.TerminalSizeChanged as change:
                resize(target, change.width, change.height)
                continue
            except (asyncssh.BreakReceived, asyncssh.SignalReceived):
                continue  # OpenSSH's sshd ignores these for commands without a terminal, too
            if not data:
                return
            await _write(target, data)
    except (BrokenPipeError, OSError):
        return  # the program does not read any more; its exit code says what there is to say
    finally:
        os.close(target)


def resize(terminal: int, columns: int, rows: int) -> None:
    """Tell a terminal its size; raises OSError when it is none."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


async def _write(target: int, data: bytes) -> None:
    while data:
        try:
            data = data[os.write(target, data) :]
        except BlockingIOError:
            await _writable(target)


async def _writable(target: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_writer(target, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_writer(target)
