"""The wizard from nothing to a running application, without its screens.

Belongs here: what it remembers and decides, reading typed hosts, proposing roles, how applying
goes. Does not belong here: widgets (`tui.screens.wizard`), the plan and its carrying out
(`oakctl.fleet`).
"""
