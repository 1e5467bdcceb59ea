"""Certificates by ACME (RFC 8555), with the library `acme`: orders, renewals, answers to challenges, storage."""
