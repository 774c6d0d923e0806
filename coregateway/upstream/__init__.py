"""The upstream client: an HTTP/1.1 client made for forwarding, and its httpx face.

`pool` bounds and reuses connections, `connection` carries one exchange at a time over one of them,
`transport` shows both to everyone else as an `httpx.AsyncBaseTransport`.
"""
