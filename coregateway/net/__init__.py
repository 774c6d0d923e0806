"""Bytes and time: transports, accepting, flow control, limits of time. Knows nothing of HTTP's meaning.

transport          how a client's bytes come and go, and the side that is told of them
plain_transport    the transport in the clear
tls_transport      the transport over TLS, of either side
handshakes         how many handshakes with clients a turn takes, and how they end
tls_codec          the TLS of one connection, apart from its socket
tls_server         the certificates of a port, by the names that clients ask for
tls_contexts       the certificates and authorities that TLS goes by
tls_failure        why a TLS connection could not be made
worker_io          what the connections of a worker read and write with
epoll              which clients have sent something, a few at a time
acceptor           accepts more than one connection at a time
batched_writer     bytes that leave at the end of a turn of the loop
read_budget        how much one read may bring
budgeted_reader    reads from upstreams within the budget
write_backlog      what was written to a peer and is not taken yet
read_pause         a client that is not read for a while
lingering_close    the last seconds of a connection that the gateway ends
deadline           a time limit that is cheap to move
notifier           wakes what waits for news of a connection
splice             bodies that pass inside the kernel
pipes              what they pass through
sockets            addresses, second descriptors, resets
"""
