"""What a request may, one module a policy. Pure decisions.

access             the networks that clients may come from
claims             what a token says of its caller
cors               which origins may read answers
fields             what is changed in the fields of messages
fixed_answer       answers that the settings hold
forward_auth       what a service is asked that says whether a request may pass
gcra               how many requests a key may send
identity           the fields that name the caller to a backend
keys               whom an API key belongs to
limit_keys         whose requests are counted together
marks              by which the tables of the node know keys
mirroring          which requests a second backend gets as well
rates              one rate of the settings, and what clients are told of it
redirect           where a redirect leads
requirement        what a route asks of its callers
shares             which of several backends gets a request
store_script       what a store of several nodes decides of a request
tokens             whether a token is good
trusted_proxies    whose word about a client is believed
"""
