"""The arguments of `coregateway`, and those of its commands that have something to do of their own.

arguments       what each command takes, and what a wrong word is told
routes          all routes, in the order in which they win
explain         what would become of a request
explained_request  what became of one that was served
inspection      what the settings decide, without a gateway that serves
plugged         the middleware of the plugins, by its names
columns         rows of text in columns
admin_address   what a gateway that runs answers at its admin address
status          the state of the node that runs
reload          have it read its settings again
drain           take an upstream out of it, or have it back
greeting        what the first start says at a terminal
key             a new API key
health          whether the gateway of this machine takes traffic; knows none of the others
"""
