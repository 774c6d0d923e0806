"""Sanic's front door, hardened through its own seams.

gateway     the `Sanic` subclass: routes forwarded paths, renders errors, announces exchanges
connection  one client connection: bytes in and out, flow control, time limits
stream      one request after the other on it: strict heads and bodies, responses as bytes
request     Sanic's request object over a strictly parsed head
signals     Sanic's signals, looked up once
acceptor    accepting more than one connection at a time
listeners   listening sockets that several workers share
workers     the workers of one node: readiness, restarts, drain
"""
