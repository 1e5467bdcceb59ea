"""Middlewares: steps between a router and its service. Each changes a request, answers it, or changes its answer."""
