"""The vocabulary: frozen dataclasses that every other room speaks in.

Belongs here: resources, nodes, services, instances, states, documents, messages, and the names
of subjects and buckets. Does not belong here: decisions, input/output, or an import of another
room of ours. Everything here runs on Python 3.10 and travels in the node archive.
"""
