"""What the settings accept, what they inherit, and what cannot stand together."""

import os
from collections.abc import Mapping
from copy import copy
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from coregateway.settings import (
    BackendSettings,
    BreakerSettings,
    EjectionSettings,
    LimitSettings,
    RetrySettings,
    Settings,
    SettingsError,
    TimeoutSettings,
    load,
)
from coregateway.settings.keys import BACKEND_KEYS, NODE_KEYS, dotted
from coregateway.settings.model import KeyPath, contradictions, leaves
from coregateway.settings.upstreams import UpstreamURL

FIELD_RULES: Mapping[str, object] = {
    "request.set": {},
    "request.add": {},
    "request.remove": (),
    "response.set": {},
    "response.add": {},
    "response.remove": (),
}

REQUIREMENT: Mapping[str, object] = {
    "auth.require": (),
    "auth.roles": (),
    "auth.scopes": (),
    "auth.anonymous": False,
}

CONTRACT: Mapping[str, object] = {
    "host": "0.0.0.0",
    "port": 8001,
    "workers": 1,
    "log_level": "INFO",
    "log_format": "json",
    "plugins": (),
    "access_log.sample": 1.0,
    "access_log.slow": 1.0,
    "access_log.fields": (),
    "timeouts.connect": 5.0,
    "timeouts.read": 30.0,
    "timeouts.write": 10.0,
    "timeouts.pool": 5.0,
    "timeouts.client": 30.0,
    "timeouts.idle": 75.0,
    "timeouts.linger": 30.0,
    "limits.max_connections": 50,
    "limits.max_keepalive_connections": 20,
    "limits.keepalive_expiry": 30.0,
    "limits.max_queued": 1000,
    "limits.max_streams": 1000,
    "limits.client_rate": 1024,
    "store.url": "",
    "store.timeout": 0.02,
    "store.on_error": "local",
    "limits.rates": (),
    "limits.concurrency": (),
    "limits.request.max_head": 16384,
    "limits.request.max_body": 104857600,
    "limits.request.gather": 65536,
    "timeouts.total": 0.0,
    "ejection.enabled": True,
    "ejection.failures": 5,
    "ejection.duration": 30.0,
    "ejection.max_duration": 300.0,
    "ejection.max_share": 0.5,
    "breaker.enabled": False,
    "breaker.ratio": 0.5,
    "breaker.window": 10.0,
    "breaker.minimum": 20,
    "breaker.open": 10.0,
    "retries.attempts": 3,
    "retries.backoff": 0.025,
    "retries.max_backoff": 0.25,
    "retries.statuses": (),
    "retries.budget": 0.2,
    "retries.budget_minimum": 3,
    "forwarding.trusted_proxies": (),
    "forwarding.host": "backend",
    "tls.cert": "",
    "tls.key": "",
    "tls.certificates": (),
    "tls.watch": 10.0,
    "tls.client": "none",
    "tls.client_ca": "",
    "tls.min": "1.2",
    "tls.http_port": 0,
    "admin.address": "127.0.0.1:9001",
    "cors.origins": ("*",),
    "cors.credentials": False,
    "shutdown.delay": 0.5,
    "shutdown.grace": 15.0,
    "watchdog": 30.0,
    "metrics.enabled": True,
    "metrics.on_main_port": False,
    "dashboard.enabled": True,
    "dashboard.on_main_port": False,
    "dns.refresh": 5.0,
    "dns.hold": 60.0,
    "reload.watch": 0.0,
    "explain.header": False,
    "explain.allow": (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128")),
    "tracing.enabled": False,
    "tracing.sample": 0.1,
    "tracing.endpoint": "http://localhost:4318",
    "tracing.server_timing": False,
    **FIELD_RULES,
    "auth.default": (),
    "auth.realm": "coregateway",
    "auth.keys.header": "X-API-Key",
    "backends.coredinator.prefix": "/api/v1/coredinator",
    "backends.coredinator.urls": ("http://localhost:7000",),
    "backends.coredinator.methods": ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"),
    "backends.coredinator.health.path": "/api/healthcheck",
    "backends.coredinator.health.interval": 10.0,
    "backends.coredinator.health.unhealthy_interval": 2.0,
    "backends.coredinator.health.timeout": 2.0,
    "backends.coredinator.health.fall": 3,
    "backends.coredinator.health.rise": 2,
    "backends.coredinator.health.statuses": ("200-399",),
    **{
        f"backends.{name}.openapi.{key}": value
        for name in ("coredinator", "coretelemetry")
        for key, value in {
            "path": "/openapi.json",
            "file": "",
            "refresh": 60.0,
            "stale": 86400.0,
            "hide": (),
            "max_size": 4194304,
        }.items()
    },
    "backends.coredinator.tls.ca": "",
    "backends.coredinator.tls.cert": "",
    "backends.coredinator.tls.key": "",
    "backends.coredinator.tls.server_name": "",
    "backends.coredinator.tls.verify": True,
    "backends.coredinator.enabled": True,
    "backends.coredinator.strip": True,
    "backends.coredinator.max_body": 104857600,
    "backends.coredinator.cookies": "pass",
    "backends.coredinator.balance": "p2c",
    "backends.coredinator.hash_on": "client",
    "backends.coredinator.max_in_flight": 0,
    "backends.coredinator.rates": (),
    "backends.coredinator.concurrency": (),
    "backends.coredinator.maintenance": False,
    "backends.coredinator.validation.mode": "off",
    "backends.coredinator.validation.max_body": 1048576,
    "backends.coredinator.validation.unknown": "allow",
    "backends.coretelemetry.prefix": "/api/v1/coretelemetry",
    "backends.coretelemetry.urls": ("http://localhost:7001",),
    "backends.coretelemetry.methods": ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"),
    "backends.coretelemetry.health.path": "/health",
    "backends.coretelemetry.health.interval": 10.0,
    "backends.coretelemetry.health.unhealthy_interval": 2.0,
    "backends.coretelemetry.health.timeout": 2.0,
    "backends.coretelemetry.health.fall": 3,
    "backends.coretelemetry.health.rise": 2,
    "backends.coretelemetry.health.statuses": ("200-399",),
    "backends.coretelemetry.tls.ca": "",
    "backends.coretelemetry.tls.cert": "",
    "backends.coretelemetry.tls.key": "",
    "backends.coretelemetry.tls.server_name": "",
    "backends.coretelemetry.tls.verify": True,
    "backends.coretelemetry.enabled": True,
    "backends.coretelemetry.strip": True,
    "backends.coretelemetry.max_body": 104857600,
    "backends.coretelemetry.cookies": "pass",
    "backends.coretelemetry.balance": "p2c",
    "backends.coretelemetry.hash_on": "client",
    "backends.coretelemetry.max_in_flight": 0,
    "backends.coretelemetry.rates": (),
    "backends.coretelemetry.concurrency": (),
    "backends.coretelemetry.maintenance": False,
    "backends.coretelemetry.validation.mode": "off",
    "backends.coretelemetry.validation.max_body": 1048576,
    "backends.coretelemetry.validation.unknown": "allow",
}

WAYS = ("[]", '["keys"]'), ('["key"]', '["jwt."]', '["keys", "keys"]', '"keys!"', "[1]")
WORDS = ('["a b"]', '["a,b"]', "['\"']", '["é"]', '["a", "a"]', "[1]")

SECONDS = (
    ("0.001", "1", "30.0", "1e3", "31536000"),
    ("0", "-1", "31536001", "nan", "inf", "true", '"5s"', '"5"'),
)
PAUSE = ("0", "0.0", "2.5"), ("-0.1", "inf", '"1"')
SHARE = ("0", "0.25", "1"), ("-0.1", "1.01", "nan", '"1"')
SWITCH = ("false", "true"), ('"true"', "1", '"no"')
COUNT = ("0", "1", "100000"), ("-1", "1.5", "true", '"1"')
POSITIVE = ("1", "7"), ("0", "-1", "1.0", "false")

VALIDATED = {
    "mode": (('"off"', '"report"', '"enforce"'), ('"on"', '"Report"', "true", "1")),
    "max_body": (("1", "67108864"), ("0", "-1", "67108865", "1.5", '"1"')),
    "unknown": (('"allow"', '"reject"'), ('"deny"', "false")),
}

FIELDS = (
    ("{}", '{ X-Env = "prod" }', '{ X-A = "${client} ${request_id} ${consumer} ${route}", X-B = "" }'),
    (
        *('{ Content-Length = "1" }', '{ connection = "close" }', '{ Host = "a" }', '{ X_Env = "a" }'),
        *('{ Proxy-Authorization = "a" }', '{ X-Forwarded-For = "a" }', '{ Sec-WebSocket-Key = "a" }'),
        *('{ X-Request-ID = "a" }', '{ "a b" = "c" }', '{ "" = "c" }', '{ X-Env = "a", x-env = "b" }'),
        *('{ X-Env = "a\\r\\nX-Evil: b" }', '{ X-Env = "${secret}" }', '{ X-Env = "${client" }'),
        *("{ X-Env = 1 }", '"X-Env"', "[]"),
    ),
)
NAMES = (
    ("[]", '["Server"]', '["X-Debug", "X-Real-IP"]'),
    ('["Transfer-Encoding"]', '["Upgrade"]', '["Date"]', '["X-A", "x-a"]', '"Server"', '["a b"]', "[1]"),
)
NETWORKS = (
    ("[]", '["10.0.0.0/8", "::1"]', '["::ffff:10.0.0.0/104"]'),
    ('["10.0.0.1/8"]', '["10.0.0"]', '"10.0.0.0/8"', '["localhost"]', "[1]"),
)

BASIC: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "host": (
        ('"127.0.0.1"', '"::"', '"localhost"', '"gate-1.example."'),
        ('""', '"[::]"', '"a b"', '"http://a"', '"a:80"', '"300.1.1.1"', "1", '"-a"'),
    ),
    "port": (("0", "1", "65535"), ("-1", "65536", "80.0", '"80"', "true", "[]", "{}")),
    "workers": (("0", "1", "1024"), ("-1", "1025", '"auto"', "2.0")),
    "log_level": (('"DEBUG"', '"warning"', '"Critical"'), ('"LOUD"', '""', "10")),
    "plugins": (("[]", '["a.b", "a.b:c"]'), ('["a", "a"]', '["a/b"]', '["a:"]', '[""]', "[1]", '"a"')),
    "log_format": (('"json"', '"console"'), ('"JSON"', '""', "true")),
    "access_log.sample": (("0", "0.25", "1"), ("-0.1", "1.01", "nan", '"1"')),
    "access_log.slow": SECONDS,
    "access_log.fields": (
        ("[]", '["status"]', '["error", "path"]'),
        ('["query"]', '["time"]', '["status", "status"]', '"status"', "[1]"),
    ),
    **{f"timeouts.{each}": SECONDS for each in ("connect", "read", "write", "pool", "client", "idle")},
    "timeouts.linger": PAUSE,
    "limits.max_connections": POSITIVE,
    "limits.max_keepalive_connections": (("0", "1", "50"), ("-1", "1.5", "true", '"1"', "51")),
    "limits.keepalive_expiry": SECONDS,
    "limits.max_queued": COUNT,
    "limits.max_streams": COUNT,
    "limits.client_rate": COUNT,
    "limits.request.max_head": (("128", "65536"), ("127", "0", "1e3")),
    "limits.request.max_body": COUNT,
    "limits.request.gather": POSITIVE,
    "retries.attempts": POSITIVE,
    "forwarding.trusted_proxies": (
        ("[]", '["10.0.0.0/8", "192.0.2.1", "::1", "2001:db8::/32"]'),
        ('["10.0.0.1/8"]', '["localhost"]', '["10.0.0.0/33"]', '"10.0.0.0/8"', "[1]", '[""]'),
    ),
    "forwarding.host": (('"backend"', '"client"'), ('"Backend"', '""', "true")),
    "tls.cert": (('""',), ("1", '"/nowhere.pem"')),
    "tls.key": (('""',), ("1", '"/nowhere.pem"')),
    "tls.certificates": (("[]",), ('"a"', '[{ key = "a" }]', '[{ cert = "/nowhere.pem" }]', '[{ c = "a" }]')),
    "tls.watch": (("0", "0.5"), ("-1", '"1"')),
    "tls.client": (('"none"',), ('"maybe"', '"required"', "true")),
    "tls.client_ca": (('""',), ("1", '"/nowhere.pem"')),
    "tls.min": (('"1.2"', '"1.3"'), ('"1.1"', "1.2")),
    "tls.http_port": (("0",), ("80", "-1", "65536")),
    "admin.address": (
        ('""', '"127.0.0.1:0"', '"[::1]:9001"', '"localhost:65535"'),
        ('"127.0.0.1"', '":9001"', '"localhost:65536"', '"::1:9001"', '"http://a:1"', '"a:b"', "9001"),
    ),
    "cors.origins": (
        ("[]", '["*"]', '["https://a.example", "http://localhost:3000", "capacitor://localhost"]'),
        (
            '["https://a/"]',
            '["a.example"]',
            '["https://u@a"]',
            '["https://a:1/x"]',
            '["null"]',
            '"*"',
            '["//a"]',
        ),
    ),
    "cors.credentials": (("false",), ('"true"', "1", '"no"')),
    "shutdown.delay": PAUSE,
    "shutdown.grace": PAUSE,
    "watchdog": PAUSE,
    "reload.watch": PAUSE,
    **{f"dashboard.{each}": (("false", "true"), ('"true"', "1")) for each in ("enabled", "on_main_port")},
    **{f"metrics.{each}": (("false", "true"), ('"true"', "1")) for each in ("enabled", "on_main_port")},
    "tracing.enabled": (("false", "true"), ('"true"', "1", '"no"')),
    "tracing.sample": (("0", "0.1", "1", "1.0"), ("-0.1", "1.1", "nan", '"0.1"', "true")),
    "tracing.endpoint": (
        ('"http://localhost"', '"https://otel.example:4318/base/"', '"http://[::1]:4318"'),
        (
            *('""', '"localhost:4318"', '"ftp://a"', '"http://"', '"http://a?b"', '"http://u:p@a"', "4318"),
            *('"http://a/b c"', '"http://a#b"', '"http://a:0"', '"http://a:65536"'),
        ),
    ),
    "tracing.server_timing": (("false", "true"), ('"true"', "1", '"no"')),
    "explain.header": (("false", "true"), ('"true"', "1")),
    "explain.allow": (("[]", '["10.0.0.0/8"]'), ('"10.0.0.0/8"', '["10.0.0.1/8"]', '["localhost"]', "true")),
    "dns.refresh": SECONDS,
    "dns.hold": PAUSE,
    "backends.coredinator.health.interval": PAUSE,
    "backends.coredinator.health.unhealthy_interval": SECONDS,
    "backends.coredinator.health.timeout": SECONDS,
    "backends.coredinator.health.fall": POSITIVE,
    "backends.coredinator.health.rise": POSITIVE,
    "backends.coredinator.health.statuses": (
        ('["204"]', '["200-299", "401"]', '["100-599"]', '["200-200"]'),
        ("[]", '["600"]', '["299-200"]', '["2xx"]', "[200]", '"200"', '["200 - 299"]', '["200-"]'),
    ),
    "backends.coredinator.cookies": (('"pass"', '"map"'), ('"Map"', '""', "true", '"drop"')),
    "backends.coredinator.prefix": (
        ('"/a"', '"/api/v1/x_y.z~-"', '"/healthy"', '"/api/health"', '"/api/v1/coretelemetry/inner"'),
        (
            *(
                '""',
                '"/"',
                '"a"',
                '"/a/"',
                '"//a"',
                '"/a//b"',
                '"/a/../b"',
                '"/."',
                '"/a%20b"',
                '"/a b"',
                '"/a?b"',
            ),
            *(
                '"/docs"',
                '"/docs/x"',
                '"/openapi.json"',
                '"/openapi/a"',
                '"/health"',
                '"/livez/a"',
                '"/readyz"',
                "1",
            ),
        ),
    ),
    "backends.coredinator.urls": (
        (
            *('["http://localhost"]', '["http://a:1", "http://10.0.0.1:65535"]', '["http://[::1]:7000"]'),
            *('["https://a"]', '["https://a:8443/x"]'),
            *('["http://a/"]', '["http://a/x/y_z~.;=,"]', '["http://unix:/run/a.sock"]'),
            *('[{ url = "http://a" }]', '["http://a", { url = "http://b/x", weight = 1000 }]'),
        ),
        (
            *(
                "[]",
                '["https://u:p@a"]',
                '["https://a:0"]',
                '["https://unix:/a"]',
                '["http://a//b"]',
                '["http://a/b/../c"]',
                '["http://a?b"]',
            ),
            *('["http://a#b"]', '["http://a/%20"]', '["http://unix:run"]', '["http://unix:"]'),
            *('[{ url = "http://a", weight = 0 }]', '[{ url = "http://a", weight = 1001 }]'),
            *("[{ weight = 1 }]", '[{ url = "http://a", weight = "1" }]', '[{ url = "http://a", w = 1 }]'),
            *('[{ url = "http://a", weight = 2 }, "http://a/"]', "[true]"),
            *('["http://u:p@a"]', '["http://a:0"]', '["http://a:65536"]', '["http://a:"]', '["http://"]'),
            *('["a:80"]', '["HTTP://a"]', '["http://::1"]', '"http://a"', '["http://a", "http://a"]', "[1]"),
        ),
    ),
    "backends.coredinator.tls.ca": (('""',), ("1", '"/nowhere.pem"', '"a\\nb"')),
    "backends.coredinator.tls.cert": (('""',), ("true", '"/nowhere.pem"')),
    "backends.coredinator.tls.key": (('""',), ("[]", '"/nowhere.pem"')),
    "backends.coredinator.tls.server_name": (('""', '"a.example"', '"10.0.0.1"', '"::1"'), ('"a:1"', "1")),
    "backends.coredinator.tls.verify": (("true", "false"), ('"false"', "0")),
    "backends.coredinator.methods": (
        (
            '["GET"]',
            '["GET", "PURGE", "M-SEARCH"]',
            '["MKCOL", "VERSION-CONTROL", "QUERY"]',
            '["WATCH", "X-SYNC"]',
        ),
        (
            '["GTE"]',
            '["PSOT"]',
            '["DELET"]',
            '["PATCHH"]',
            '["GET", "OPTIONZ"]',
            "[]",
            '["get"]',
            '["TRACE"]',
            '["GET", "CONNECT"]',
            '["A B"]',
            '[""]',
            '["GET", "GET"]',
            '"GET"',
        ),
    ),
    "backends.coredinator.enabled": (("false", "true"), ('"false"', "0", '"no"')),
    "backends.coredinator.strip": (("true", "false"), ('"/api"', "1")),
    "backends.coredinator.max_body": COUNT,
    "backends.coredinator.openapi.path": (
        ('"/"', '"/v1/openapi.json?x=1"', '""'),
        ('"a"', '"/a b"', "1"),
    ),
    "backends.coredinator.openapi.file": (('"api.json"', '"/etc/a b.json"', '""'), ("1", '"a\\nb"')),
    "backends.coredinator.openapi.refresh": SECONDS,
    "backends.coredinator.openapi.stale": PAUSE,
    "backends.coredinator.openapi.hide": (
        ("[]", '["/a", "/internal/*", "/a/{id}", "/*"]'),
        ('["a"]', '["/a*"]', '["/*/a"]', '["/a b"]', '["/a", "/a"]', '"/a"', "[1]"),
    ),
    "backends.coredinator.openapi.max_size": (("1024", "67108864"), ("0", "1023", "67108865", "1.5", '"1"')),
    "backends.coredinator.health.path": (('"/"', '"/a/b?c=d"', '""'), ('"a"', '"/a b"', '"/a\\n"', "1")),
    **{
        f"backends.coredinator.timeouts.{each}": SECONDS
        for each in ("connect", "read", "write", "pool", "client", "idle")
    },
    "backends.coredinator.timeouts.linger": PAUSE,
    "backends.coredinator.allow": NETWORKS,
    "backends.coredinator.deny": NETWORKS,
    **{
        f"{above}{direction}.{key}": NAMES if key == "remove" else FIELDS
        for above in ("", "backends.coredinator.")
        for direction in ("request", "response")
        for key in ("set", "add", "remove")
    },
}

RESILIENCE: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "timeouts.total": PAUSE,
    "ejection.enabled": SWITCH,
    "ejection.failures": POSITIVE,
    "ejection.duration": SECONDS,
    "ejection.max_duration": SECONDS,
    "ejection.max_share": SHARE,
    "breaker.enabled": SWITCH,
    "breaker.ratio": (("0.01", "0.5", "1", "1.0"), ("0", "-0.1", "1.1", '"0.5"')),
    "breaker.window": SECONDS,
    "breaker.minimum": POSITIVE,
    "breaker.open": SECONDS,
    "retries.attempts": POSITIVE,
    "retries.backoff": PAUSE,
    "retries.max_backoff": PAUSE,
    "retries.statuses": (
        ("[]", "[503]", '[502, "504"]', '["500-599"]', '["502-504", 429]'),
        ("[200]", "[600]", '["504-502"]', '["5xx"]', "503", "[503, 503]", "[true]", '["500-"]'),
    ),
}
"""Of the node, and of each backend."""

VALUES = {
    **BASIC,
    **RESILIENCE,
    **{f"backends.coredinator.{key}": values for key, values in RESILIENCE.items()},
    "retries.budget": SHARE,
    "retries.budget_minimum": COUNT,
    "backends.coredinator.balance": (
        ('"p2c"', '"round_robin"', '"least_conn"', '"random"', '"hash"'),
        ('"P2C"', '"rr"', '""', "1"),
    ),
    "backends.coredinator.hash_on": (
        ('"client"', '"consumer"', '"header:X-Key"', '"cookie:sid"'),
        ('""', '"ip"', '"header:"', '"header:a b"', '"client:a"', '"cookie"', "1"),
    ),
    "backends.coredinator.max_in_flight": COUNT,
    "backends.coredinator.rates": (("[]",), ('"a"', "[1]", '["A"]', '["a", "a"]')),
    "store.url": (
        ('""', '"redis://localhost:6379/0"', '"rediss://u:p@h:1/2"', '"unix:///run/redis.sock"'),
        ('"localhost"', '"http://a"', '"redis://"', '"redis://a b"', "1"),
    ),
    "store.timeout": SECONDS,
    "store.on_error": (('"local"', '"allow"', '"deny"'), ('"Local"', '""', "1")),
    "limits.rates": (("[]",), ('"a"', "[1]", '["A"]', '["a", "a"]')),
    "backends.coredinator.concurrency": (("[]",), ('"a"', "[1]", '["A"]', '["a", "a"]')),
    "limits.concurrency": (("[]",), ('"a"', "[1]", '["A"]', '["a", "a"]')),
    "backends.coredinator.maintenance": SWITCH,
    **{f"backends.coredinator.validation.{key}": values for key, values in VALIDATED.items()},
    "auth.default": WAYS,
    "auth.realm": (('"a"', '"Acme (staging)"'), ('""', "'a\"b'", '"a\\\\b"', '"é"', "1")),
    "auth.keys.header": (
        ('"X-API-Key"', '"X-Token"'),
        *[('""', '"X_Key"', '"a b"', '"Authorization"', '"cookie"', '"Host"', '"X-Forwarded-Key"', "1")],
    ),
    "backends.coredinator.auth.require": WAYS,
    "backends.coredinator.auth.roles": (("[]",), WORDS),
    "backends.coredinator.auth.scopes": (("[]",), WORDS),
    "backends.coredinator.auth.anonymous": SWITCH,
}


def load_toml(directory: Path, text: str) -> Settings:
    (directory / "coregateway.toml").write_text(text)
    return load(environ={}, cwd=directory).settings


def test_the_defaults_are_those_of_the_contract():
    values = {dotted(key): value for key, value in leaves(Settings())}
    tables = {
        "timeouts": TimeoutSettings(),
        "ejection": EjectionSettings(),
        "breaker": BreakerSettings(),
        "retries": RetrySettings(),
    }
    node_wide = {f"{table}.{name}": value for table, values in tables.items() for name, value in values}
    of_each = {**node_wide, **FIELD_RULES, "allow": (), "deny": (), **REQUIREMENT}
    inherited = {
        f"backends.{name}.{key}": each for name in Settings().backends for key, each in of_each.items()
    }
    assert values == {**CONTRACT, **inherited}


def test_every_key_has_its_table_of_good_and_bad_values():
    assert set(VALUES) == {
        *map(dotted, NODE_KEYS),
        *(dotted(("backends", "coredinator", *key)) for key in BACKEND_KEYS),
    }


@pytest.mark.parametrize("key", VALUES)
def test_a_key_takes_what_it_should(key: str, tmp_path: Path):
    for literal in VALUES[key][0]:
        load_toml(tmp_path, f"{key} = {literal}")


@pytest.mark.parametrize("key", VALUES)
def test_a_key_refuses_the_rest_and_says_where_and_why(key: str, tmp_path: Path):
    for literal in VALUES[key][1]:
        with pytest.raises(SettingsError) as caught:
            load_toml(tmp_path, f"\n{key} = {literal}")
        (mistake,) = caught.value.mistakes
        assert mistake.where == f"coregateway.toml:2: {key}", literal
        assert mistake.expected != "a known key", literal
        assert mistake.found, literal


@pytest.mark.parametrize(
    ("toml", "key", "value"),
    [
        ('log_level = "debug"', ("log_level",), "DEBUG"),
        ('host = "::ffff:127.0.0.1"', ("host",), "127.0.0.1"),
        ('admin.address = "[::FFFF:7f00:1]:1"', ("admin", "address"), "127.0.0.1:1"),
        (
            'forwarding.trusted_proxies = ["::ffff:127.0.0.0/104", "fd00::/8"]',
            ("forwarding", "trusted_proxies"),
            (ip_network("127.0.0.0/8"), ip_network("fd00::/8")),
        ),
        (
            'backends.coredinator.urls = ["http://[::ffff:10.0.0.1]:7000", "http://[::1]"]',
            ("backends", "coredinator", "urls"),
            ("http://10.0.0.1:7000", "http://[::1]"),
        ),
        ("timeouts.read = 5", ("timeouts", "read"), 5.0),
        ('cors.origins = ["HTTPS://A.Example:443"]', ("cors", "origins"), ("https://a.example",)),
        ('cors.origins = ["http://a:443"]', ("cors", "origins"), ("http://a:443",)),
        ('cors.origins = ["http://[::1]:80"]', ("cors", "origins"), ("http://[::1]",)),
        ('backends.coredinator.health.path = ""', ("backends", "coredinator", "health", "path"), None),
    ],
)
def test_a_value_is_kept_in_its_one_spelling(toml: str, key: KeyPath, value: object, tmp_path: Path):
    assert dict(leaves(load_toml(tmp_path, toml)))[key] == value


def test_no_workers_means_one_for_each_cpu():
    assert Settings(workers=0).workers == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("address", "endpoint"),
    [("", None), ("127.0.0.1:9001", ("127.0.0.1", 9001)), ("[::1]:0", ("::1", 0)), ("a:80", ("a", 80))],
)
def test_the_admin_address_comes_apart(address: str, endpoint: tuple[str, int] | None):
    assert Settings.model_validate({"admin": {"address": address}}).admin.endpoint == endpoint


def test_a_backend_inherits_each_timeout_that_it_does_not_override(tmp_path: Path):
    settings = load_toml(
        tmp_path, "timeouts.read = 3\ntimeouts.pool = 2\nbackends.coredinator.timeouts.read = 7"
    )
    own = settings.backends["coredinator"].timeouts
    assert (own.read, own.pool, own.connect) == (7.0, 2.0, 5.0)
    assert settings.backends["coretelemetry"].timeouts == settings.timeouts


def test_a_backend_inherits_each_key_of_resilience(tmp_path: Path):
    settings = load_toml(
        tmp_path,
        "retries.attempts = 5\nretries.budget = 0.5\nejection.failures = 7\nbreaker.enabled = true\n"
        "backends.coredinator.retries.backoff = 0.1\nbackends.coredinator.ejection.duration = 3\n"
        "backends.coredinator.breaker.enabled = false",
    )
    own, other = settings.backends["coredinator"], settings.backends["coretelemetry"]
    assert (own.retries.attempts, own.retries.backoff) == (5, 0.1)
    assert (own.ejection.failures, own.ejection.duration) == (7, 3.0)
    assert (own.breaker.enabled, other.breaker.enabled) == (False, True)
    assert (other.retries.attempts, other.retries.backoff) == (5, 0.025)


def test_the_budget_of_retries_is_the_nodes_alone(tmp_path: Path):
    with pytest.raises(SettingsError) as caught:
        load_toml(tmp_path, "backends.coredinator.retries.budget = 0.5")
    (mistake,) = caught.value.mistakes
    assert (mistake.expected, mistake.hint) == ("a known key", "did you mean retries.budget?")


def test_an_address_keeps_its_weight_and_loses_its_last_slash(tmp_path: Path):
    toml = 'backends.coredinator.urls = ["http://a/", { url = "http://b/x/", weight = 3 }]'
    urls = load_toml(tmp_path, toml).backends["coredinator"].urls
    assert urls == (UpstreamURL("http://a"), UpstreamURL("http://b/x", 3))
    assert urls != ("http://a", "http://b/x")
    assert [str(url) for url in urls] == ["http://a", "http://b/x"]
    assert copy(urls) == urls


def test_a_backend_made_in_code_inherits_too():
    backend = BackendSettings(prefix="/x", urls=("http://a",), timeouts=TimeoutSettings(pool=1))
    settings = Settings(timeouts=TimeoutSettings(read=3), backends={"x": backend})
    assert settings.backends["x"].timeouts == TimeoutSettings(read=3, pool=1)
    assert list(settings.backends) == ["x"]


def test_a_third_backend_takes_a_prefix_and_urls(tmp_path: Path):
    settings = load_toml(
        tmp_path, '[backends.billing]\nprefix = "/bills"\nurls = ["http://a:1", "http://b:2"]'
    )
    assert list(settings.backends) == ["coredinator", "coretelemetry", "billing"]
    billing = settings.backends["billing"]
    assert billing == BackendSettings(prefix="/bills", urls=("http://a:1", "http://b:2"))


def test_a_table_for_a_default_backend_overrides_only_its_keys(tmp_path: Path):
    settings = load_toml(tmp_path, '[backends.coredinator]\nurls = ["http://a:1"]')
    default = Settings().backends["coredinator"]
    assert settings.backends["coredinator"] == default.model_copy(update={"urls": ("http://a:1",)})


@pytest.mark.parametrize(
    ("toml", "left"),
    [
        ("backends.coredinator.enabled = false", ["coretelemetry"]),
        ("[backends]\ncoredinator.enabled = false\ncoretelemetry.enabled = false", []),
        ("backends.coretelemetry = { enabled = false, prefix = '/api/v1/coredinator' }", ["coredinator"]),
        ("backends.billing.enabled = false", ["coredinator", "coretelemetry"]),
        ("backends.billing = { enabled = false, urls = ['http://a'] }", ["coredinator", "coretelemetry"]),
        ("backends.coredinator.enabled = true", ["coredinator", "coretelemetry"]),
    ],
)
def test_a_backend_that_is_not_enabled_is_not_there(toml: str, left: list[str], tmp_path: Path):
    settings = load_toml(tmp_path, toml)
    assert list(settings.backends) == left
    assert all(row.enabled for row in settings.backends.values())


def test_a_backend_made_in_code_may_be_off_too():
    row = BackendSettings(prefix="/x", urls=("http://a",), enabled=False)
    other = row.model_copy(update={"enabled": True})
    assert Settings(backends={"x": row, "y": other}).backends == {"y": other}
    assert Settings(backends={"x": row}).backends == {}


def test_the_prefix_of_a_backend_that_is_off_is_free(tmp_path: Path):
    settings = load_toml(
        tmp_path,
        '[backends.coredinator]\nenabled = false\n[backends.next]\nprefix = "/api/v1/coredinator"\n'
        'urls = ["http://a"]',
    )
    assert list(settings.backends) == ["coretelemetry", "next"]


@pytest.mark.parametrize(("most", "kept"), [(10, 10), (1, 1), (20, 20), (60, 20)])
def test_as_many_idle_connections_are_kept_as_there_may_be(most: int, kept: int, tmp_path: Path):
    limits = load_toml(tmp_path, f"limits.max_connections = {most}").limits
    assert limits.max_keepalive_connections == kept
    assert LimitSettings(max_connections=most) == limits


@pytest.mark.parametrize("name", ["Billing", "1st", "-a", "_a", '"a b"', '"a.b"', '"é"', '""'])
def test_a_backend_name_is_a_lower_case_word(name: str, tmp_path: Path):
    with pytest.raises(SettingsError, match="expected a backend name"):
        load_toml(tmp_path, f'[backends.{name}]\nprefix = "/a"\nurls = ["http://a"]')


@pytest.mark.parametrize(
    "table", ["timeouts = 5", "limits.request = []", "backends = 1", "backends.a = true"]
)
def test_a_table_is_a_table(table: str, tmp_path: Path):
    with pytest.raises(SettingsError, match="expected a table, found"):
        load_toml(tmp_path, table)


@pytest.mark.parametrize(
    ("values", "broken"),
    [
        ({("cors", "credentials"): True, ("cors", "origins"): ("*",)}, [("cors", "credentials")]),
        ({("cors", "credentials"): True, ("cors", "origins"): ("https://a", "*")}, [("cors", "credentials")]),
        ({("cors", "credentials"): True, ("cors", "origins"): ("https://a",)}, []),
        ({("cors", "credentials"): True}, []),
        ({("cors", "credentials"): False, ("cors", "origins"): ("*",)}, []),
        (
            {("backends", "a", "prefix"): "/x", ("backends", "b", "prefix"): "/x"},
            [("backends", "b", "prefix")],
        ),
        ({("backends", "a", "prefix"): "/x", ("backends", "b", "prefix"): "/x/y"}, []),
        ({("backends", "a", "prefix"): "/x", ("backends", "b", "prefix"): "/X"}, []),
        *(
            (
                {("limits", "max_connections"): most, ("limits", "max_keepalive_connections"): kept},
                [("limits", "max_keepalive_connections")] if broken else [],
            )
            for most, kept, broken in ((50, 51, True), (1, 2, True), (50, 50, False), (1, 0, False))
        ),
        *(
            (
                {("host",): host, ("port",): port, ("admin", "address"): address},
                [("admin", "address")] if broken else [],
            )
            for host, port, address, broken in (
                ("127.0.0.1", 9001, "127.0.0.1:9001", True),
                ("0.0.0.0", 9001, "127.0.0.1:9001", True),
                ("0.0.0.0", 9001, "localhost:9001", True),
                ("127.0.0.1", 9001, "0.0.0.0:9001", True),
                ("::", 9001, "127.0.0.1:9001", True),
                ("::", 9001, "[::1]:9001", True),
                ("127.0.0.1", 9001, "LocalHost:9001", True),
                ("gate.example", 9001, "Gate.example:9001", True),
                ("0.0.0.0", 9001, "[::1]:9001", False),
                ("127.0.0.1", 9001, "127.0.0.2:9001", False),
                ("gate.example", 9001, "127.0.0.1:9001", False),
                ("0.0.0.0", 9002, "127.0.0.1:9001", False),
                ("0.0.0.0", 0, "127.0.0.1:0", False),
                ("0.0.0.0", 9001, "", False),
            )
        ),
        *(
            (
                {
                    ("host",): "0.0.0.0",
                    ("port",): 443,
                    ("admin", "address"): "127.0.0.1:9001",
                    ("tls", "cert"): cert,
                    ("tls", "certificates"): (),
                    ("tls", "http_port"): clear,
                },
                [("tls", "http_port")] if broken else [],
            )
            for cert, clear, broken in (
                ("a.pem", 80, False),
                ("a.pem", 0, False),
                ("", 0, False),
                ("", 80, True),
                ("a.pem", 443, True),
                ("a.pem", 9001, True),
            )
        ),
        *(
            (
                {("metrics", "on_main_port"): on, ("backends", "a", "prefix"): prefix},
                [("backends", "a", "prefix")] if broken else [],
            )
            for on, prefix, broken in (
                (True, "/metrics", True),
                (True, "/metrics/a", True),
                (True, "/metricsa", False),
                (True, "/a/metrics", False),
                (False, "/metrics", False),
            )
        ),
    ],
)
def test_settings_that_cannot_stand_together(values: dict[KeyPath, object], broken: list[KeyPath]):
    assert [each.key for each in contradictions(values)] == broken


@pytest.mark.parametrize(
    "tables",
    [
        {"cors": {"credentials": True}},
        {
            "backends": {
                "a": {"prefix": "/x", "urls": ("http://a",)},
                "b": {"prefix": "/x", "urls": ("http://b",)},
            }
        },
        {"backends": {"A": {"prefix": "/x", "urls": ("http://a",)}}},
        {"backends": {"a": {"prefix": "/x"}}},
        {"port": "80"},
        {"port": 9001},
        {"limits": {"max_connections": 1, "max_keepalive_connections": 2}},
        {"prot": 80},
    ],
)
def test_settings_made_in_code_are_checked_as_well(tables: dict[str, Any]):
    with pytest.raises(ValidationError):
        Settings.model_validate(tables)


def test_settings_do_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        Settings().port = 80  # pyright: ignore[reportAttributeAccessIssue] -- what must fail
