"""The demonstration: a whole edge cloud on one machine, an application on it, and nothing left.

Belongs here: what is done in which order, what is measured, and the report. Does not belong
here: a screen (`tui`); whoever shows it is an observer.
"""
