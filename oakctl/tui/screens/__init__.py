"""Screens: which widgets stand where, which key does what."""
