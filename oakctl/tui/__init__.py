"""The terminal app: screens over a root, which it hosts while it runs.

Belongs here: Textual and what is drawn. Does not belong here: a decision about the fleet; the
app asks `oakctl.client` like everybody else.
"""
