from lbcore.tls.library import Library

library: Library
