"""The demo: two backends that speak the real services' APIs with state in memory, behind the gateway.

showing         runs all of it, from the first process to the end of the last
greeting        what its user reads
certificate     a certificate that is made on the spot
process         one Sanic application in one process
child           a child process that never outlives its parent
contract        how both backends answer, refuse and describe themselves
coredinator     starts and stops agents
agents          their state
coretelemetry   answers what agents measured
series          made-up measurements
machine         numbers of the machine
"""
