"""The HTTP/1.1 grammar of both sides: request heads, response heads, chunked bodies. Pure, no I/O.

Everything here is stricter than RFC 9112 allows a recipient to be: whatever two parsers could read
differently is refused, never repaired. Only CRLF ends a line, field names are tokens, nothing may stand
between a name and its colon, and a message has exactly one kind of framing.
"""
