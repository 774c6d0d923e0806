"""What operators see: written down beside the request path, never on it.

log_lines       the lines of one worker, as the settings want them
access_log      the line of each request
request_line    the usual ones, put together from pieces
samples         the slowest and failed exchanges, for the page
monitor         what a worker does beside its requests
metrics         counts, and /metrics
tracing         spans, and their way to a collector
diagnosis       what an operator should hear, in words
history         the last hour of the node
status          the state of the node, for /status
"""
