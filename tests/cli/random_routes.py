"""Random settings with many routes, and random requests for them."""

from random import Random

from coregateway.cli.explain import head_of

NAMES = ("coredinator", "coretelemetry", "based")
"""Of the backends that requests are forwarded to; `copied` gets copies, `closed` nothing."""

SEGMENTS = ("a", "b", "api", "x-1")
HOSTS = ("one.test", "*.one.test", "a.one.test", "*.test")
FIELDS = ('X-A = "1"', 'X-A = "*"', 'X-B = "2"', 'X-A = "1", X-B = "*"')
TARGETS = ("https://new.example/*", "/*", "https://new.example/b?c=d", "/moved/*")
RULES = (
    'set = { X-Env = "prod", Authorization = "Bearer of-the-gateway" }',
    'set = { X-Client = "${client}", X-Is = "${route} ${request_id}" }, remove = ["X-B"]',
    'add = { X-A = "${consumer}", X-C = "c" }, remove = ["Cookie", "accept"]',
    'remove = ["X-All", "x-a"]',
)
NETWORKS = ('allow = ["10.0.0.0/8", "127.0.0.0/8"]', 'deny = ["192.0.2.0/24"]', "allow = []")

TOML = """
admin.address = ""
[explain]
header = true
allow = ["0.0.0.0/0", "::/0"]
[forwarding]
trusted_proxies = ["127.0.0.0/8"]
[request]
set = { X-All = "yes" }
remove = ["X-Secret"]
[response]
set = { X-Frame-Options = "DENY" }
[backends.coredinator]
request.set = { X-Level = "backend", X-Client = "${client}" }
deny = ["192.0.2.128/25"]
[backends.based]
prefix = "/api/v1/based"
strip = false
request.remove = ["X-A"]
[backends.copied]
prefix = "/api/v1/copied"
[backends.closed]
prefix = "/api/v1/closed"
maintenance = true
"""


def some_routes(chance: Random, count: int) -> str:
    """Tables of random routes, with no two that a request could not tell apart."""
    tables: dict[object, str] = {}
    while len(tables) < count:
        parts = "".join(f"/{chance.choice(SEGMENTS)}" for _ in range(chance.randrange(1, 4)))
        if chance.random() < 0.3:
            parts = f"/api/v1/{chance.choice(NAMES)}{parts}"
        path = parts + chance.choice(("", "/*", "/*"))
        methods = chance.choice(((), (), ("GET",), ("POST", "PUT"), ("GET", "PURGE")))
        hosts = chance.choice(((), (), ("one.test",), ("*.one.test", "a.one.test"), ("*.test",)))
        fields = chance.choice(("", "", *FIELDS))
        lines = [f'path = "{path}"', *_destination(chance, path)]
        lines += [f"methods = {[*methods]}"] if methods else []
        lines += [f"hosts = {[*hosts]}"] if hosts else []
        lines += [f"headers = {{ {fields} }}"] if fields else []
        lines += chance.choice(([], [], [chance.choice(NETWORKS)]))
        lines += chance.choice(([], ['response.set = { X-Route = "${route}" }']))
        key = (path, frozenset(methods), frozenset(hosts), fields)
        tables.setdefault(key, "\n".join(lines))
    return "\n".join(f"[routes.r{number}]\n{table}" for number, table in enumerate(tables.values()))


def _destination(chance: Random, path: str) -> list[str]:
    """Where a route leads, and what is changed on the way."""
    kind = chance.random()
    if kind < 0.08:
        targets = [each for each in TARGETS if path.endswith("/*") or "*" not in each]
        return [f'redirect = {{ to = "{chance.choice(targets)}", status = {chance.choice((301, 307))} }}']
    if kind < 0.2:
        given = chance.choice(("status = 204", 'status = 200, body = "b"', "status = 503, retry_after = 3"))
        return [f"respond = {{ {given} }}"]
    lines = [f'backend = "{chance.choice(NAMES)}"']
    if kind < 0.45:
        one, other = chance.sample((*NAMES, "closed"), 2)
        lines = [f"backend = {{ {one} = 60, {other} = 40 }}"]
        lines += [f'sticky = "{chance.choice(("client", "header:X-User", "cookie:user"))}"']
        lines += chance.choice(([], ['force = { header = "X-To", cookie = "to" }']))
    front = path.removesuffix("/*")
    rules = ["", "", f'strip = "{front.rpartition("/")[0]}"', 'rewrite = "/one"']
    rules += ['rewrite = "/v2/*"'] if path.endswith("/*") else []
    lines += [chance.choice(rules)]
    lines += chance.choice(([], [f"request = {{ {chance.choice(RULES)} }}"]))
    lines += chance.choice(([], [], ['mirror.backend = "copied"']))
    return lines


def some_request(chance: Random, number: int) -> tuple[bytes, bytes]:
    """A head and its body; half of them ask what becomes of them."""
    path = "".join(f"/{chance.choice(SEGMENTS)}" for _ in range(chance.randrange(1, 4)))
    if chance.random() < 0.4:
        path = f"/api/v1/{chance.choice((*NAMES, 'closed'))}{path}"
    path += chance.choice(("", "", "", "/", "//b", "/%61", ";p=1", "/x%2Fy", "/%E4", "/..%2fa", "/%2e%2e/a"))
    fields = [f"Host: {chance.choice((*HOSTS, 'other', 'b.one.test:80')).replace('*', 'any')}"]
    fields += [f"X-Request-ID: request-{number}", *chance.sample(("X-A: 1", "x-a: 2", "X-B: 2"), 2)]
    fields += chance.choice(([], ["Connection: X-B, x-user"], ["Accept:  */* "], ["X-Secret: s"]))
    fields += chance.choice(([], [f"X-User: {chance.randrange(40)}"]))
    fields += chance.choice(([], [f"Cookie: a=b; user={chance.randrange(40)}; to={chance.choice(NAMES)}"]))
    fields += chance.choice(([], [], [f"X-To: {chance.choice((*NAMES, 'closed', 'nobody'))}"]))
    fields += chance.choice(
        ([], ["X-Forwarded-For: 192.0.2.200"], ["X-Forwarded-For: 10.1.1.1, ::ffff:10.2.2.2"])
    )
    fields += chance.choice(([], ["X-CoreGateway-Explain: 1"]))
    method = chance.choice(("GET", "GET", "HEAD", "POST", "PUT", "PURGE", "OPTIONS"))
    body = b""
    if method == "OPTIONS":
        fields += chance.choice(
            ([], ["Max-Forwards: 0"], ["Origin: https://a.test", "Access-Control-Request-Method: PUT"])
        )
    elif method in ("POST", "PUT"):
        fields, body = chance.choice(
            (
                ([*fields, "Content-Length: 5"], b"hello"),
                ([*fields, "Transfer-Encoding: chunked"], b"5\r\nhello\r\n0\r\n\r\n"),
                ([*fields, "Content-Length: 0"], b""),
            )
        )
    return head_of(method, path + chance.choice(("", "?", "?q=%2F")), fields), body
