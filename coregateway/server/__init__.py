"""Sanic's front door, hardened through its own seams.

gateway      the `Sanic` subclass: routes forwarded paths, renders errors, announces exchanges
connection   one client connection: bytes in and out, and the time that a client may take
head_search  where a request's head ends in what has come
hold         a client that is not read for a while, and may leave meanwhile
linger       the last seconds of a connection that the gateway ends
stream       one request after the other on a connection: strict heads and bodies, responses as bytes
request      Sanic's request object over a strictly parsed head
signals      Sanic's signals, looked up once
acceptor     accepting more than one connection at a time
listeners    listening sockets that several workers share
workers      the workers of one node: readiness, restarts, drain
"""
