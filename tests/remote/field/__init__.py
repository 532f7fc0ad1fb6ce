"""What has gone wrong on people's machines, by number (`p01` to `p36`), and what is right instead.

Each test is one failure that was reported against a tool like this one. Where a real SSH server, a
real shell or a real kernel shows it, one is used; where the hardware is not here, facts are written
as the report has them, and the test says so ("reported facts").
"""
