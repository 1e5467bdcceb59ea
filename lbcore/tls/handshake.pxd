# Handshakes with clients: the choice of certificates and options.

from lbcore.tls.certificate cimport Pair
from lbcore.tls.end cimport End
from lbcore.tls.option_set cimport OptionSet
from lbcore.tls.tickets cimport TicketKeys


cdef class Certificates:
    cdef dict by_name                  # tuples of Pair by name, as in `Pair.names`
    cdef readonly bint has_addresses   # some are addresses: clients that ask for no name get those of the address they connected to
    cdef tuple fallback                # Pair: for all other names

    cdef tuple find(self, bytes name)


cdef class Acceptor:
    cdef readonly OptionSet options    # for hosts that are not in `hosts`
    cdef dict hosts                    # OptionSet by host, as in `Pair.names`, or REFUSED
    cdef Certificates certificates
    cdef TicketKeys tickets
    cdef dict challenges               # Pair by name: the present answers to tls-alpn-01; shared, and changed by its owner
    cdef dict staples                  # OCSP responses (DER) by fingerprint; shared, and changed by its owner
    cdef bint layer_4
    cdef bint refuses

    cdef OptionSet options_of(self, bytes name)


cdef class Handshake(End):
    cdef Acceptor acceptor             # the one of its start, or a later one under which it holds
    cdef bytes address                 # that the client connected to, as text; empty: it does not matter
    cdef OptionSet options             # by `server_name`
    cdef bytes accepted                # digest of the later options under which it held, and was verified, last; None: of none
    cdef bint quic                     # for HTTP/3: the packets are QUIC's, there is no TCP connection
    cdef Pair challenge                # the challenge that this handshake answers before it ends; None: a client's handshake

    cdef bint holds_under(self, Acceptor acceptor) noexcept


cdef Handshake accept(Acceptor acceptor, bytes address)
