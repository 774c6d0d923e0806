"""Clients: the protocol of a connection, and what the gateway answers by itself.

connection        the states of a connection, heads, and the beginning and end of each request
ending            the end of a connection: lingering, the drain, newcomers
states            which states there are, and which may follow which
request_reader    the bytes that have come, and bodies among them
response_writer   responses, backpressure, the time to take what was written
task              serves a request that has to wait
head_reader       finds a whole head among what has come
head_search       where a head ends in bytes that come in pieces
body              where a body ends in them
answers           problem documents, and answers without content
"""
