"""The log of what clients change through the API: who drains a server can be found, whatever the level of the log."""

from __future__ import annotations

import logging

log = logging.getLogger("lbcore.audit")
log.setLevel(logging.INFO)  # not that of the root, which is ERROR unless something else is configured
