"""The processes of one gateway.

supervisor        the main process: starts workers, replaces those that die or hang, ends all
children          its workers, and which of them are well
lives             when a worker that died is started again
probing           keeps the prober alive
scaling           more or fewer workers at run time
watchdog          which processes have stood still for too long
worker_states     Sanic's notes of its processes
process_signals   what signals to a process mean
managed_processes   those that Sanic knows beside the workers
orphans           what PID 1 collects
workers           the life of a process as a worker
state             what the processes know of each other
running           what the node runs with: its settings, and which upstreams were taken out by hand
reload            other settings, and upstreams taken out, for a node that runs
control           what a worker asks of the main process
content_watch     when the content of a file has changed
listeners         sockets that all workers accept from
service_manager   what systemd is told and gives
descriptors       how many descriptors a worker may have, and for how many clients that is
memory_tuning     the memory of a worker
"""
