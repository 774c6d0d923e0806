"""The step of admission that asks the rates of a route: all are looked at, and then taken from, or none is.

Rates whose key is known at once are asked before a request's credentials are looked at, those by its consumer
after that (`after`): where one of these refuses, what the first ones took is given back. A request that is
refused for its credentials has taken from them.
"""

from collections.abc import Sequence
from time import monotonic_ns

from coregateway.http1.request import RequestHead
from coregateway.model.errors import RateLimited
from coregateway.model.exchange import Exchange
from coregateway.policy.gcra import Decision, decide, state, whole_seconds
from coregateway.policy.rates import RateRule
from coregateway.proxy.admission import Refusal
from coregateway.proxy.client import Client
from coregateway.proxy.limits import Limits
from coregateway.shared_memory.rate_table import RateTable


class _Asked:
    """One rate for one request."""

    __slots__ = ("decision", "mark", "rule")

    def __init__(self, rule: RateRule, mark: int, decision: Decision) -> None:
        self.rule = rule
        self.mark = mark
        self.decision = decision


class RateCheck:
    """See the module. `after`: the check before this one; `policy` is what `explain` calls it."""

    __slots__ = ("_after", "_limits", "_members", "_rules", "policy")

    def __init__(self, rules: Sequence[RateRule], limits: Limits, after: "RateCheck | None" = None) -> None:
        self._rules = tuple(rules)
        self._limits = limits
        self._after = after
        self._members = b", ".join([rule.member for rule in rules if rule.enforced])
        self.policy = "rates " + ", ".join(rule.name for rule in rules)

    def admit(self, client: Client, head: RequestHead) -> Refusal | None:
        """Refuse a request that comes too early by one of the rates that are enforced."""
        exchange = client.exchange
        if exchange is None:
            return None
        table = self._limits.table
        now = monotonic_ns()
        if len(self._rules) == 1:
            rule = self._rules[0]
            key = rule.key.of(head, exchange)
            if key is None:
                return self._lacks_key(rule, exchange)
            asked = [_take_one(rule, rule.marks.of(key, table.mark), table, now)]
        else:
            keyed: list[tuple[RateRule, int]] = []
            for rule in self._rules:
                key = rule.key.of(head, exchange)
                if key is not None:
                    keyed.append((rule, rule.marks.of(key, table.mark)))
                elif (refusal := self._lacks_key(rule, exchange)) is not None:
                    return refusal
            asked = _take_all(keyed, table, now)
        return self._verdict(asked, exchange, head, table, now)

    def _lacks_key(self, rule: RateRule, exchange: Exchange) -> Refusal | None:
        """What becomes of a request that has no key for a rate."""
        if not rule.denies:
            return None
        exchange.limited_by = rule.name
        if not rule.enforced:
            rule.counts.would_limit += 1
            return None
        rule.counts.limited += 1
        return Refusal(error=RateLimited(rule.rate.window))

    def _verdict(
        self, asked: list[_Asked], exchange: Exchange, head: RequestHead, table: RateTable, now: int
    ) -> Refusal | None:
        wait = 0
        told = b""
        for each in asked:
            rule, decision = each.rule, each.decision
            if not decision.wait:
                continue
            if not rule.enforced:
                rule.counts.would_limit += 1
                if exchange.limited_by is None:
                    exchange.limited_by = rule.name
                continue
            rule.counts.limited += 1
            if decision.wait > wait:
                wait = decision.wait
                exchange.limited_by = rule.name
        for each in asked:
            rule, decision = each.rule, each.decision
            if not decision.wait:
                if wait:
                    decision = state(rule.rate, decision.paid - rule.cost * rule.rate.interval, now)
                else:
                    rule.counts.allowed += 1
            if rule.enforced:
                member = rule.told(decision)
                told = told + b", " + member if told else member
        if told:
            exchange.quotas = exchange.quotas + b", " + self._members if exchange.quotas else self._members
            exchange.quota_left = exchange.quota_left + b", " + told if exchange.quota_left else told
        if not wait:
            return None
        if self._after is not None:
            self._after.give_back(exchange, head, table)
        return Refusal(error=RateLimited(whole_seconds(wait)))

    def give_back(self, exchange: Exchange, head: RequestHead, table: RateTable) -> None:
        """Give back what a request took that a later check refuses."""
        now = monotonic_ns()
        for rule in self._rules:
            key = rule.key.of(head, exchange)
            if key is None:
                continue
            mark = rule.marks.of(key, table.mark)
            held = table.hold(mark)
            cell = table.find(mark, now)
            paid = table.time(cell, mark)
            if paid:
                table.write(cell, mark, paid - rule.cost * rule.rate.interval, now)
            table.let_go(held)


def _take_one(rule: RateRule, mark: int, table: RateTable, now: int) -> _Asked:
    held = table.hold(mark)
    try:
        cell = table.find(mark, now)
        decision = decide(rule.rate, table.time(cell, mark), now, rule.cost)
        if not decision.wait:
            table.write(cell, mark, decision.paid, now)
    finally:
        table.let_go(held)
    return _Asked(rule, mark, decision)


def _take_all(keyed: list[tuple[RateRule, int]], table: RateTable, now: int) -> list[_Asked]:
    """Look at all, then take from all; from none, where one that is enforced refuses."""
    asked: list[_Asked] = []
    held = table.hold_all([mark for _, mark in keyed])
    try:
        refused = False
        for rule, mark in keyed:
            paid = table.time(table.find(mark, now), mark)
            decision = decide(rule.rate, paid, now, rule.cost)
            refused = refused or (decision.wait > 0 and rule.enforced)
            asked.append(_Asked(rule, mark, decision))
        if not refused:
            for each in asked:
                if not each.decision.wait:
                    # Found again: the one before may have taken the free cell.
                    table.write(table.find(each.mark, now), each.mark, each.decision.paid, now)
    finally:
        for number in held:
            table.let_go(number)
    return asked
