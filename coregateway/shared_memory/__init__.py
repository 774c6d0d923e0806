"""What belongs to the node rather than to one worker: numbers and records in memory that all processes share.

    memory    the mapping itself: made by the main process, inherited by every worker
    verdict   whether a backend is healthy: found out by one process for all
    board     its layout; each process claims one part of it and is the only one that writes there
    series    numbers by name in a part: counters, histograms, gauges
    ring      the latest records of a part
    shared_rows   numbers by key that every process may write
    shared_locks   locks between processes, which none that dies can keep
    rate_table   what is kept of the keys of rates
    flight_table   how many requests of each key are in flight
    pending   log lines of a part that have not left yet
    history   what was counted in the last minutes and the last hour
    publication   one text of one writer, read whole or not at all
    editions   large texts of one writer, read in pieces

There is no lock on any write but those of rates. A number is eight aligned bytes and has one writer, so no
reader ever sees half of it; the reader makes the sums. What a worker wrote stays when it dies: the next
process that claims the part goes on from there.
"""

from coregateway.shared_memory.board import Board, Part

__all__ = ["Board", "Part"]
