"""Widgets that are drawn from view models: tables by key, a bounded log, the camera picture."""
