"""Files for the place where a gateway runs: `coregateway export systemd|kubernetes|compose`.

files       the templates with the values of this version
"""
