"""The words in which the tables of `allowed` are written: a rule decides what is taken of the
value at one place of a backup's machine.

A rule is a function of the value and its place; it returns what is taken, where secret values are
filled in from, and what a person should know. None is nowhere a value: Go writes it for absent.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple

from shared.models.restore_plans import Fill, Path
from shared.validation import listed

INSTANCE: Path = ("spec", "template", "spec")
"""Where a VirtualMachine says what its instances are; most places lie below it."""

INTERFACES: Path = (*INSTANCE, "domain", "devices", "interfaces")

MOST_FINDINGS = 50


class Finding(NamedTuple):
    """Something that a person should know of one machine; CHECK is the rule's name in the plan.
    STAYS: what it is about is taken as it is.
    """

    check: str
    verdict: Literal["warn", "block"]
    message: str
    stays: bool = False


class At(NamedTuple):
    """A place: the way to it in the backup's metadata, and in the manifest that is made of it."""

    source: Path
    to: Path

    def below(self, step: str | int, new: str | int | None = None) -> "At":
        """One step further; NEW is the manifest's step, where entries before it are left out."""
        return At((*self.source, step), (*self.to, step if new is None else new))

    def __str__(self) -> str:
        steps = self.to
        if steps[: len(INSTANCE)] == INSTANCE:
            steps = steps[len(INSTANCE) :]
        return ".".join(map(str, steps))


class Part(NamedTuple):
    """What is taken of a value (None: nothing); UNKNOWN are the places that no table has."""

    value: Any = None
    fills: tuple[Fill, ...] = ()
    findings: tuple[Finding, ...] = ()
    unknown: tuple[str, ...] = ()


Rule = Callable[[Any, At], Part]
Table = Mapping[str, Rule]


def warning(message: str, check: str = "allow-list") -> Finding:
    return Finding(check, "warn", message)


def noting(message: str, check: str = "allow-list") -> Finding:
    """Of what is taken as it is."""
    return Finding(check, "warn", message, stays=True)


def blocking(message: str, check: str = "allow-list") -> Finding:
    return Finding(check, "block", message)


def cut(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """What blocks comes first; a hostile backup does not fill the plan with findings."""
    every = sorted(findings, key=lambda each: each.verdict != "block")
    more = len(every) - MOST_FINDINGS
    if more > 0:
        every[MOST_FINDINGS:] = [warning(f"There are {more} more findings like these.")]
    return tuple(every)


def keep(value: Any, at: At) -> Part:
    """Taken as it is."""
    return Part(value)


def secret(value: Any, at: At) -> Part:
    """Taken from the backup when the machine is made, since it may be secret."""
    return Part(fills=(Fill(to=at.to, source=at.source),))


def keep_and_warn(why: str) -> Rule:
    """Taken as it is; WHY is a sentence that goes with any value but an empty one."""

    def decide(value: Any, at: At) -> Part:
        return Part(value, findings=(noting(f"{at}: {why}"),) if value else ())

    return decide


def drop(why: str) -> Rule:
    """Left out with a warning, of which WHY is the end."""

    def decide(value: Any, at: At) -> Part:
        return Part(findings=(warning(f"{at} is left out: {why}."),) if value else ())

    return decide


def block(why: str) -> Rule:
    """Nothing of this machine is restored; WHY is a sentence with the remedy."""

    def decide(value: Any, at: At) -> Part:
        return Part(findings=(blocking(f"{at}: {why}"),) if value else ())

    return decide


def _unknown(value: Any, at: At) -> Part:
    return Part(unknown=(str(at),))


def fields(table: Table, others: Rule = _unknown) -> Rule:
    """An object of which the table's keys are taken, each by its rule."""

    def decide(value: Any, at: At) -> Part:
        parts = {
            key: table.get(key, others)(inner, at.below(key))
            for key, inner in value.items()
            if inner is not None
        }
        kept = {key: part.value for key, part in parts.items() if part.value is not None}
        return _joined(kept, parts.values())

    return decide


def each(rule: Rule) -> Rule:
    """A list of values of one form."""

    def decide(value: Any, at: At) -> Part:
        if not isinstance(value, list):
            raise TypeError(f"{at} is not a list")
        present = [number for number, inner in enumerate(value) if inner is not None]
        parts = [rule(value[number], at.below(number, new)) for new, number in enumerate(present)]
        return _joined([part.value for part in parts], parts)

    return decide


def entries(rule_of: Callable[[str, Any], Rule], why: str) -> Rule:
    """A map of free keys (labels, amounts): RULE_OF a key and its value decides on each.

    Those that are `foreign` are named together in one warning, of which WHY is the end.
    """

    def decide(value: Any, at: At) -> Part:
        parts = {
            key: rule_of(key, inner)(inner, at.below(key))
            for key, inner in value.items()
            if inner is not None
        }
        kept = {key: part.value for key, part in parts.items() if part.value is not None}
        joined = _joined(kept, parts.values())
        if not joined.unknown:
            return joined
        said = warning(f"{at}: {listed(joined.unknown)} left out, since {why}.")
        return joined._replace(findings=(*joined.findings, said), unknown=())

    return decide


def foreign(value: Any, at: At) -> Part:
    """Left out; the map that it is an entry of says so."""
    return Part(unknown=(str(at.to[-1]),))


def stale(value: Any, at: At) -> Part:
    """Left out without a word: every machine has it, and it is about the source."""
    return Part()


def _joined(value: Any, parts: Iterable[Part]) -> Part:
    parts = tuple(parts)
    return Part(
        value,
        tuple(fill for part in parts for fill in part.fills),
        tuple(finding for part in parts for finding in part.findings),
        tuple(place for part in parts for place in part.unknown),
    )
