"""Descriptors: Oakestra's SLA v2.0 with our key `oakctl:`, every fault found, made into services.

Belongs here: what people write, its errors and warnings, and its conversion into the model.
Does not belong here: files, folders and uploads (`client.artifact`), or anything at run time.
"""

from oakctl.sla.check import Checked, parse
from oakctl.sla.convert import Application, convert
from oakctl.sla.old_shape import wrap_old_shape

__all__ = ["Application", "Checked", "convert", "parse", "wrap_old_shape"]
