"""The terminal app in a browser: textual-serve behind a guard of ours.

Belongs here: who is let in (`guard`), the page, and serving it (`server`). Does not belong here:
anything that is shown, which is the same app as in a terminal.
"""
