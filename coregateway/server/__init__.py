"""Sanic's front door, hardened through its own seams.

gateway      the `Sanic` subclass: own routes, errors, and what is served by a task
frontend     what the client connections of one worker share
downstream   the client's side as each request needs it: bytes that come, and whole answers that go
connection   the rest of a client connection: its task, and the time that a client may take
head_search  where a request's head ends in what has come
hold         a client that is not read for a while, and may leave meanwhile
linger       the last seconds of a connection that the gateway ends
stream       one request after the other on a connection, by its task
message      what a request and its response are made of, for that task
answers      what the gateway answers without a handler of Sanic's
body         a request's body, told from what comes behind it
request      Sanic's request object over a strictly parsed head
ledger       the exchanges that begin and end, told to those who asked for it
signals      Sanic's signals, looked up once
acceptor     accepting the connections of clients, and making room for them
descriptors  how many of them a worker may have, and for how many clients that is
poll         which clients have sent something, a few of them at a time
transport    a client's connection, as asyncio's transports are, over the poll
listeners    listening sockets that several workers share
workers      the workers of one node: readiness, restarts, drain
node         what its processes know of each other
supervisor   the main process: starts the workers, replaces those that die or hang, ends all
children     the workers' processes, and which of them are well
lives        when a worker that died is started again
watchdog     which processes have stood still for too long
orphans      what PID 1 collects
process_signals  what signals to a process mean
worker_states    Sanic's notes of its processes
"""
