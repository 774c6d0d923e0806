"""What the node finds out of its upstreams by asking: where their names lead, and whether they are well.

One process of the node does it (`process`), for all workers: so an upstream gets one check in an interval
whatever their number is, a worker that computes or that a plugin blocks fails no check, and a look-up that
hangs holds up no request. A node without a main process does it in its one worker.

plan        what is to be asked
planning    makes it from the settings
standing    an address by its checks: up or down; pure
names       a host name by its look-ups: its addresses, kept for a while over failures; pure
asking      one check, on a connection of its own
key_sets    the keys of issuers of tokens, fetched
documents   the API documents of backends, fetched and kept
document_states   what is known of them, for the workers
fetching    one fetch of one document
answering   one GET on a connection of its own
resolving   look-ups in threads of their own
prober      all of it in a loop, and what came of it written down
knowledge   what was written down, for the workers
process     the process, as it runs
"""
