"""The identity that the Workload API of SPIFFE gives this instance."""
