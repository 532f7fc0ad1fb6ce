"""The runtime for containers: Docker, by its SDK. Imported only where there is a Docker socket.

Pure: `request` (a service → the body of a create request), `seen` (what Docker says of a
container), `words`, `progress`, `effort`, `housekeeping`. Blocking calls are in `engine`, run by
`calls` in threads with deadlines; `commands` ends those inside containers in time. `driver` keeps
the connection and the newest picture of our containers, which `runtime` and `images` read and
never wait for.
"""
