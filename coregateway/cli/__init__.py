"""The commands of `coregateway` that have something to do of their own.

status      the state of the node that runs, asked for on its admin address
health      whether the gateway of this machine takes traffic; knows nothing of the others
"""
