"""The words that all other packages share.

exchange     one request and its response, as a record
caller       the identity that a request has proven
errors       what can go wrong: status, whose fault it is, whether anything was sent
refusals     the errors of requests that a policy refuses
contract     the errors that clients may be sent
problem      an error as a document (RFC 9457)
call_times   how long the calls of a function took
ids          ids of requests, traces and spans
addresses    one spelling of an address
trace        the trace context of a request (W3C)
"""
