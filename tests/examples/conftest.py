"""The example's package lies beside its descriptor, as on a host."""

from __future__ import annotations

import sys

from .pipeline import APP

sys.path.insert(0, str(APP))
