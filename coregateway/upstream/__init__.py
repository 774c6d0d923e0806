"""The upstream client: an HTTP/1.1 client made for forwarding, and its httpx face.

backend           one backend in one worker
opening           makes it from its row of the settings
pool              gives out its connections, of the endpoint whose turn it is
endpoint_set      which endpoints it has, and which of them get requests
rulings           what the node decides of it: ejections, its breaker
mirror            sends it copies of requests, which no client waits for
auth_service      a service that says whether requests may pass
auth_services     makes these from the settings
balancer          says which endpoint serves the next request
tiers             says between which of them it may choose
address           where an endpoint is
endpoint          one address of a backend: its connections and its limit
endpoint_standing how it stands: drained, avoided, ejected, down
endpoint_health   what was met there: when it answered last, how it failed since
dialer            opens connections to it
security          how connections to its URLs that say https are secured
connecting        a connection to one of several: begun at a second one when the first takes its time
ejection          when an upstream is ejected, and how it comes back
breaker           when a backend gets no requests because too many have failed
in_flight_limit   how many requests it has at a time, over all workers
slow_clients      which clients hold its connections from others without need
retry_budget      how many repetitions may be under way
node_link         what a worker shares with the others of its node
idle              its idle connections: which is used next, which is closed
wait_queue        the requests of a backend that wait for a connection
connection        carries one exchange at a time
response_receiver its reading half
look              asks the kernel what a connection has to read, before it is used again
following         lets backends know what the prober has found
httpx_transport   pool and connection as an `httpx.AsyncBaseTransport`
probes            which backends are healthy, for `/health`
roles             what a connection expects of its owner
"""
