"""The step of admission that asks the rates of a route: all are looked at, and then taken from, or none is.

Rates whose key is known at once are asked before a request's credentials are looked at, those by its consumer
after that (`after`): where one of these refuses, what the first ones took is given back. A request that is
refused for its credentials has taken from them.

With a store, the node's own rates are asked first: what they refuse costs no round trip. What they admit, the
store decides, and the node takes over how far each key is ahead there. So it refuses by itself, too, what the
store would, until enough has come back.
"""

from collections.abc import Coroutine, Sequence
from time import monotonic_ns
from typing import Any

from coregateway.http1.request import RequestHead
from coregateway.model.exchange import Exchange
from coregateway.model.refusals import RateLimited, RateStoreUnavailable
from coregateway.policy.gcra import Decision, decide, state, whole_seconds
from coregateway.policy.rates import RateRule
from coregateway.policy.store_script import StoreAnswer, store_arguments, store_key
from coregateway.proxy.admission import Refusal
from coregateway.proxy.client import Client
from coregateway.proxy.limits import Limits
from coregateway.proxy.rate_store import ALLOW, DENY, LOCAL, RateStore
from coregateway.shared_memory.rate_table import RateTable


class _Asked:
    """One rate for one request."""

    __slots__ = ("decision", "key", "mark", "rule")

    def __init__(self, rule: RateRule, key: str, mark: int, decision: Decision) -> None:
        self.rule = rule
        self.key = key
        self.mark = mark
        self.decision = decision


class RateCheck:
    """See the module. `after`: the check before this one; `policy` is what `explain` calls it."""

    __slots__ = ("_after", "_limits", "_members", "policy", "rules")

    def __init__(self, rules: Sequence[RateRule], limits: Limits, after: "RateCheck | None" = None) -> None:
        self.rules = tuple(rules)
        """Those that it asks."""
        self._limits = limits
        self._after = after
        self._members = b", ".join([rule.member for rule in rules if rule.enforced])
        self.policy = "rates " + ", ".join(rule.name for rule in rules)

    def admit(
        self, client: Client, head: RequestHead
    ) -> Refusal | Coroutine[Any, Any, Refusal | None] | None:
        """Refuse a request that comes too early by one of the rates that are enforced."""
        exchange = client.exchange
        if exchange is None:
            return None
        table = self._limits.table
        store = self._limits.store
        if store is not None and not store.answers and store.on_error != LOCAL:
            return self._without_store(store)
        now = monotonic_ns()
        if len(self.rules) == 1:
            rule = self.rules[0]
            key = rule.key.of(head, exchange)
            if key is None:
                return self._lacks_key(rule, exchange)
            mark = rule.marks.of(key, table.mark)
            decision = _take_one(rule, mark, table, now)
            if store is None and not decision.wait and rule.enforced:
                self._pass_one(rule, decision, exchange)
                return None
            asked = [_Asked(rule, key, mark, decision)]
        else:
            keyed: list[tuple[RateRule, str, int]] = []
            for rule in self.rules:
                key = rule.key.of(head, exchange)
                if key is not None:
                    keyed.append((rule, key, rule.marks.of(key, table.mark)))
                elif (refusal := self._lacks_key(rule, exchange)) is not None:
                    return refusal
            asked = _take_all(keyed, table, now)
        if store is not None:
            if not store.answers:
                self._count_failure()
            elif asked and not any(each.decision.wait and each.rule.enforced for each in asked):
                return self._ask_store(store, asked, exchange, head, table)
        return self._verdict(asked, exchange, head, table, now)

    def _pass_one(self, rule: RateRule, decision: Decision, exchange: Exchange) -> None:
        """As `_verdict`, of a request that the only rate admits: the most of them."""
        rule.counts.allowed += 1
        self._tell(exchange, rule.told(decision))

    def _tell(self, exchange: Exchange, left: bytes) -> None:
        """Have the answer say what is left, behind what the check before has to say."""
        if exchange.quotas:
            exchange.quotas = exchange.quotas + b", " + self._members
            exchange.quota_left = exchange.quota_left + b", " + left
        else:
            exchange.quotas = self._members
            exchange.quota_left = left

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
            self._tell(exchange, told)
        if not wait:
            return None
        if self._after is not None:
            self._after.give_back(exchange, head, table)
        return Refusal(error=RateLimited(whole_seconds(wait)))

    def _without_store(self, store: RateStore) -> Refusal | None:
        """What becomes of a request while the store does not answer, where the node's rates do not decide."""
        self._count_failure()
        return Refusal(error=RateStoreUnavailable()) if store.on_error == DENY else None

    def _count_failure(self) -> None:
        for rule in self.rules:
            rule.counts.failed += 1

    async def _ask_store(
        self, store: RateStore, asked: list[_Asked], exchange: Exchange, head: RequestHead, table: RateTable
    ) -> Refusal | None:
        """Let the store decide of a request that this node admits, and has taken."""
        keys, arguments = _questions(asked, 1)
        answer = await store.ask(keys, arguments)
        now = monotonic_ns()
        if answer is None:
            if store.on_error in (ALLOW, DENY):
                _give_back(asked, table, now)
                return self._without_store(store)
            self._count_failure()
            return self._verdict(asked, exchange, head, table, now)
        return self._verdict(_followed(asked, answer, table, now), exchange, head, table, now)

    def give_back(self, exchange: Exchange, head: RequestHead, table: RateTable) -> None:
        """Give back what a request took that a later check refuses."""
        now = monotonic_ns()
        taken: list[_Asked] = []
        for rule in self.rules:
            key = rule.key.of(head, exchange)
            if key is not None:
                taken.append(_Asked(rule, key, rule.marks.of(key, table.mark), state(rule.rate, 0, now)))
        _give_back(taken, table, now)
        store = self._limits.store
        if store is not None:
            store.give_back(*_questions(taken, -1))


def _questions(asked: list[_Asked], sign: int) -> tuple[list[str], list[str]]:
    """For the store: keys and arguments. `sign`: -1: to give back."""
    keys: list[str] = []
    arguments: list[str] = []
    for each in asked:
        rule = each.rule
        keys.append(store_key(rule.marks.text(each.key)))
        arguments += store_arguments(rule.rate, sign * rule.cost, enforced=rule.enforced)
    return keys, arguments


def _followed(asked: list[_Asked], answer: StoreAnswer, table: RateTable, now: int) -> list[_Asked]:
    """What the store has decided, which the table of the node goes by from now on."""
    followed: list[_Asked] = []
    for number, each in enumerate(asked):
        rule = each.rule
        ahead = now + answer.ahead[number]
        was_taken = not (answer.refused or answer.over[number])
        held = table.hold(each.mark)
        try:
            cell = table.find(each.mark, now)
            paid = table.time(cell, each.mark)
            if not each.decision.wait and not was_taken:
                paid -= rule.cost * rule.rate.interval
            table.write(cell, each.mark, max(paid, ahead), now)
        finally:
            table.let_go(held)
        if answer.over[number]:
            decision = decide(rule.rate, ahead, now, rule.cost)
            if not decision.wait:  # by a rounding
                decision.wait = 1
        elif was_taken:
            decision = state(rule.rate, ahead, now)
        else:
            decision = state(rule.rate, ahead, now)
            decision.paid += rule.cost * rule.rate.interval  # as `decide`, of one that it admits
        followed.append(_Asked(rule, each.key, each.mark, decision))
    return followed


def _give_back(taken: list[_Asked], table: RateTable, now: int) -> None:
    for each in taken:
        if each.decision.wait:
            continue  # one that is not enforced, and took nothing
        held = table.hold(each.mark)
        try:
            cell = table.find(each.mark, now)
            paid = table.time(cell, each.mark)
            if paid:
                table.write(cell, each.mark, paid - each.rule.cost * each.rule.rate.interval, now)
        finally:
            table.let_go(held)


def _take_one(rule: RateRule, mark: int, table: RateTable, now: int) -> Decision:
    held = table.hold(mark)
    try:
        cell = table.find(mark, now)
        decision = decide(rule.rate, table.time(cell, mark), now, rule.cost)
        if not decision.wait:
            table.write(cell, mark, decision.paid, now)
    finally:
        table.let_go(held)
    return decision


def _take_all(keyed: list[tuple[RateRule, str, int]], table: RateTable, now: int) -> list[_Asked]:
    """Look at all, then take from all; from none, where one that is enforced refuses."""
    asked: list[_Asked] = []
    held = table.hold_all([mark for _, _, mark in keyed])
    try:
        refused = False
        for rule, key, mark in keyed:
            paid = table.time(table.find(mark, now), mark)
            decision = decide(rule.rate, paid, now, rule.cost)
            refused = refused or (decision.wait > 0 and rule.enforced)
            asked.append(_Asked(rule, key, mark, decision))
        if not refused:
            for each in asked:
                if not each.decision.wait:
                    # Found again: the one before may have taken the free cell.
                    table.write(table.find(each.mark, now), each.mark, each.decision.paid, now)
    finally:
        for number in held:
            table.let_go(number)
    return asked
