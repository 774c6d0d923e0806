"""The upstream client: an HTTP/1.1 client made for forwarding, and its httpx face.

pool        bounds the connections of one backend and gives them out
idle        those of them that rest: which is used next, which is closed
line        those who wait for one
connection  carries one exchange at a time
look        asks the kernel what a connection has to read, before it is used again
address     one address of a backend
record      what was met there: when it answered last, how it failed since
transport   shows pool and connection to everyone else as an `httpx.AsyncBaseTransport`
"""
