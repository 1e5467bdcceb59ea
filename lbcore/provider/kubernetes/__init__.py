"""Kubernetes as a source of configuration: the client, what is known of a cluster, and what its objects mean."""
