"""What a request may, one module a policy. Pure decisions.

cors               which origins may read answers
trusted_proxies    whose word about a client is believed
"""
