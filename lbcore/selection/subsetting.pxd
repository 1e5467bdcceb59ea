# Subsetting. Declares nothing: `subset` is called from Python only.
