"""Which servers are well: asked actively, or judged by what happens to requests."""
