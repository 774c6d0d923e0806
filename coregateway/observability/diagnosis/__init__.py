"""What an operator would otherwise have to work out, in words.

    rules     from numbers to findings; pure
    decision_rules   the same of what the node has decided
    caller_rules     the same of callers: credentials, services, rates
    worker_rules     the same of a worker's own: its loop, middleware, files, certificates
    callers   brings the numbers of those to them
    reminder  how often one finding is told
    noticed   from when to when each held, for an hour
    observer  brings the numbers of a node to the rules, and their findings to the log and to the live page

Every finding is an event `diagnosis.<kind>` in the log, with a `message` and the numbers that it rests on.
One kind is told at most once a minute for each upstream of the node; what is a worker's own, for each worker.
"""
