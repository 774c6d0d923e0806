"""The state of the node: what its workers have under way, and what they have met at the backends.

    places        where each worker writes it down, in its part of the shared memory
    reporter      a worker's own share, twice a second
    reachability  whether an upstream is up, from what all workers have met there
    overview      the whole, from all parts, as `GET /status` gives it
    command       `coregateway status`: the same for people

Nobody asks a backend for any of this: an upstream is up or down by the requests that it has answered or not.
"""
