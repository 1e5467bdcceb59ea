"""The functions of templates, by what they are for. Those of text/template itself are in `template.builtin`."""
