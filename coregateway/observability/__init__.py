"""What operators see: written down beside the request path, never on it.

log_lines       the lines of one worker, as the settings want them
access_log      the line of each request
request_line    the usual ones, put together from pieces
samples         which requests are kept: the slowest, and failed ones
failures        failed requests by their causes
request_record  what is kept of one request
request_search  finds one by its id
monitor         what a worker does beside its requests
metrics         counts, and /metrics
tracing         spans, and their way to a collector
diagnosis       what an operator should hear, in words
history         the last hour of the node
status          the state of the node, for /status
"""
