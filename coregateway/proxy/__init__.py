"""From a parsed head to a backend and back.

plan                 what the settings decide, built once
policies             compiles it from the settings
forwardings          compiles from them how a route reaches a backend
routes               finds the route of a path
route                what is decided for the requests of a path
admission            the chain of policies that a request passes
explained            the same, where live requests are told what becomes of them
explanation          what becomes of a request, and why
verdicts             what each policy says of it
step_verdicts        what the steps of admission have said of it
steps                its links that answer in the place of a backend
auth_plan            its links that authenticate, from the settings
authentication       what they do
forward_check        asks a service that says whether a request may pass
token_check          the tokens that a worker has found good
recognition          the caller of an own path
rate_check           its link that asks the rates
flight_check         its link that limits requests in flight
limit_checks         makes these from the settings
rate_store           the store in which several nodes count rates together
limits               what the rates and limits of a worker share
validation           its link that holds requests against the documents of their backends
validators           these, as one worker has them, and what has not fitted
share                its link that chooses one of several backends
response_chain       the mirror of it for responses
middleware           the application's, as the request path calls it
amendment            fields that a request is given on its way
forwarded_request    the story of one request
attempts             how its upstream is made to answer
answer               what its client gets: reviewed, rendered, written
backend_claim        what it holds of its backend, and gives back
client_transfer      its bodies on their way, as slow clients are judged by
client               the client's side of it, as `downstream` implements it
worker               what the connections of a worker share
exchange_events      tells what happens to exchanges
notable              keeps those that failed or were slow
headers              the heads of both directions
rewriting            how paths look to a backend, and from outside
mirroring            copies of requests for a second backend
relay                bodies in pieces
tunnel               bytes both ways after a 101
retry                may a failed attempt be made again, and how?
total_limits         the limit for requests as a whole
hash_keys            the key by which requests are balanced
server_timing        what a client is told of its time
"""
