"""The HTTP/1.1 grammar of both sides. Pure, no I/O.

grammar       octets, tokens, lines
rules         the rules that a request can break, in words
fields        which fields pass, are noted, or end here
request       request heads
response      response heads
reader        one response, from bytes to head and content
chunked       chunked bodies
framing       how a message that passes is delimited
path_safety   whether a path stays below its prefix
date          the `Date` field

Everything here is stricter than RFC 9112 allows a recipient to be: whatever two parsers could read
differently is refused, never repaired. Only CRLF ends a line, field names are tokens, nothing may stand
between a name and its colon, and a message has exactly one kind of framing.
"""
