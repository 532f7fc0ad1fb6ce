"""What is shown, as plain data: from the root's views to words, rows and pixels.

Everything here is pure: no Textual, no clock, no input or output; `now` is passed in. The command
line draws its tables from the same words. Does not belong here: widgets and colours' escape codes.
"""
