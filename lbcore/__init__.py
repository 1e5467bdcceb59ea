"""lbcore: an L7/L4 load balancer and edge proxy configured by Traefik's own files."""

from __future__ import annotations

__version__ = "0.1.0"
