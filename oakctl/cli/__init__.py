"""The command line: one file per noun, each thin over `oakctl.client`.

Belongs here: arguments, what is printed where, and waiting for what was asked. Does not belong
here: a decision about the fleet. Heavy libraries are imported inside the commands that use them,
so that `oakctl --help` is quick.
"""
