"""Go templates, as Traefik renders its dynamic files and default rules: text/template, and pure functions of sprig."""
