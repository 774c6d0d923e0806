"""The state of the node, from what each worker writes down.

places          where each number lies
reporter        writes a worker's share
reachability    how an upstream is, from what workers have met
probed          what checks and look-ups add
decisions       what the node has decided: ejections and open breakers
mismatches      which operations are called in ways that their documents do not allow
nearest         the keys that are nearest to their limits, of rates and of requests in flight
callers         refused callers by reason, and the state of keys, services, rates and the store
store           whether the store of rates answers
overview        all of it, as /status tells it
"""
