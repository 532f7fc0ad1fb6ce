"""How the app looks: its colours, and the characters that a terminal can draw.

Belongs here: themes, glyphs, and what is remembered of them. Does not belong here: what a status
means (`viewmodels.status`) or any widget.
"""
