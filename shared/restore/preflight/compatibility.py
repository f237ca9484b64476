"""What versions of source and target say of a restore: a table of rules, each with its source, and
the one function that goes through it.

A rule is here only where somebody read or measured it. What no rule speaks of is not forbidden.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from shared import versions
from shared.jsonpath import dig
from shared.models.restore_plans import Check, Verdict
from shared.models.target_facts import Versions
from shared.validation import short
from shared.versions import Span, Version, before, exactly, since

CHECK = "versions"
ANY = Span()

SYSTEMS = {
    "kubernetes": "Kubernetes",
    "harvester": "Harvester",
    "longhorn": "Longhorn",
    "kubevirt": "KubeVirt",
}


class Rule(NamedTuple):
    """What holds where the WHAT of the backups' cluster is in the span FROM_, that of the target in
    TO; NEWER: only where the former is of a later line than the latter. STRATEGIES are those that
    it is about, all where none is named. MESSAGE is the reason and the remedy, SOURCE where the
    rule was read.
    """

    what: str
    from_: Span
    to: Span
    verdict: Verdict
    message: str
    source: str
    newer: bool = False
    strategies: tuple[str, ...] = ()

    def is_about(self, used: Collection[str]) -> bool:
        return not self.strategies or any(each in used for each in self.strategies)


OF_BACKUPS = ("csi", "longhorn")
"""The strategies by which Longhorn reads the backups."""

RULES = (
    Rule(
        what="longhorn",
        from_=ANY,
        to=before(1, 3),
        verdict="block",
        message="Longhorn before 1.3 does not know the handles (bak://) by which volumes are made"
        " of backups. Use strategy longhorn, upgrade the target, or choose another cluster.",
        source="longhorn-manager csi/controller_server.go: bak:// since 1.3, bs:// before",
        strategies=("csi",),
    ),
    Rule(
        what="harvester",
        from_=ANY,
        to=before(1, 4),
        verdict="warn",
        message="Disks are restored through CSI snapshots, which is meant for Harvester 1.4 and"
        " later. Use strategy longhorn, which auto chooses there.",
        source="contract, section 5: strategy csi is for a target's Harvester from 1.4 on",
        strategies=("csi",),
    ),
    Rule(
        what="harvester",
        from_=ANY,
        to=ANY,
        newer=True,
        verdict="warn",
        message="A machine may use what an older Harvester does not have: such fields are left out,"
        " each told by a check of its machine. Upgrade the target, or look at those checks.",
        source="harvester pkg/controller/master/backup: its own restore drops them untold",
    ),
    Rule(
        what="longhorn",
        from_=since(1, 10),
        to=before(1, 10),
        verdict="warn",
        message="Longhorn from 1.10 on can write backups in blocks of 16 MiB, of which an older one"
        " makes a corrupted file system. Look at the setting of backup block size there, or upgrade"
        " the target.",
        source="Longhorn's documentation, configure-backup-block-size.md",
        strategies=OF_BACKUPS,
    ),
    Rule(
        what="longhorn",
        from_=since(1, 5),
        to=before(1, 5),
        verdict="warn",
        message="Longhorn from 1.5 on compresses backups with lz4 unless told otherwise, which an"
        " older one cannot read. Look at the setting backup-compression-method there, or upgrade"
        " the target.",
        source="longhorn/backupstore: CompressionMethod since 1.5, gzip alone before",
        strategies=OF_BACKUPS,
    ),
)

SHIPPED = {
    (1, 0): Span(Version(1, 2), Version(1, 3)),
    (1, 1): Span(Version(1, 3), Version(1, 4)),
    (1, 2): Span(Version(1, 4), Version(1, 6)),
    (1, 3): Span(Version(1, 6), Version(1, 7)),
    (1, 4): Span(Version(1, 7), Version(1, 8)),
    (1, 5): Span(Version(1, 8), Version(1, 9)),
    (1, 6): Span(Version(1, 9), Version(1, 10)),
    (1, 7): Span(Version(1, 10), Version(1, 11)),
    (1, 8): Span(Version(1, 11), Version(1, 12)),
    (1, 9): Span(Version(1, 12), Version(1, 13)),
}
"""Which Longhorn comes with each Harvester (the charts that harvester's releases carry)."""


class Source(NamedTuple):
    """The cluster of some backups: what its document says, as it is told, and what is known."""

    cluster: str
    stated: Versions
    known: Mapping[str, Span]


def of_source(cluster: str, stated: Versions, backups: Iterable[Span]) -> Source:
    """BACKUPS are the Harvesters that can have written each; a document wins over them."""
    known = {name: _span(getattr(stated, name)) for name in SYSTEMS}
    if known["harvester"] == ANY:
        spans = list(backups)
        together = spans[0] if spans else ANY
        for each in spans[1:]:
            together = together.together(each)
        known["harvester"] = together
    if known["longhorn"] == ANY:
        known["longhorn"] = _shipped(known["harvester"])
    return Source(cluster, stated, known)


def written_by(metadata: Mapping[str, Any], key: str) -> Span:
    """The Harvesters that can have written a machine's backup: no file of it says which did.

    Each trace is of harvester pkg/controller/master/backup, at the tags v1.0.0 to v1.9.0-rc6.
    """
    backups = dig(metadata, "volumeBackups")
    listed = backups if isinstance(backups, list) else []
    found = [each for each in listed if isinstance(each, dict)]
    own = dig(metadata, "vmSourceSpec", "metadata")
    traces = (
        (before(1, 3), key.count("/") == 2),  # harvester/vmbackups/NAMESPACE-NAME.cfg
        (since(1, 1), dig(metadata, "backupSpec", "type") is not None),
        (since(1, 3), any("volumeSize" in each for each in found)),
        (since(1, 9), dig(metadata, "backupSpec", "fsFreezeDeadline") is not None),
        (before(1, 9), isinstance(own, dict) and "creationTimestamp" in own),
    )
    span = ANY
    for each, seen in traces:
        span = span.within(each) if seen else span
    # Edited by hand, or of a Harvester that nobody has read yet.
    return span if span.meets(ANY) else ANY


def check(
    target: str,
    found: Versions,
    unseen: Mapping[str, str],
    sources: Iterable[Source],
    strategies: Collection[str],
) -> Iterator[Check]:
    """What the rules say of a restore to a cluster, those that are passed as well."""
    sources = tuple(sources)
    rules = [rule for rule in RULES if rule.is_about(strategies)]
    said = [*_unknown(target, found, unseen, rules), *_pair(target, found)]
    for source in sources:
        said += _by_rules(target, found, source, rules)
    yield from dict.fromkeys(said)
    told = "; ".join([_told(target, found), *(_told_source(each) for each in sources)])
    others = "other " if said else ""
    yield _say(target, "pass", f"{told}. No {others}rule of {len(rules)} speaks against it.")


def _by_rules(
    target: str, found: Versions, source: Source, rules: Iterable[Rule]
) -> Iterator[Check]:
    for rule in rules:
        to = versions.parse(getattr(found, rule.what))
        from_ = source.known.get(rule.what, ANY)
        if to is None or not rule.to.meets(exactly(to)):
            continue
        what = SYSTEMS[rule.what]
        here = f"{target} has {what} {short(str(getattr(found, rule.what)))}"
        if rule.from_ == ANY and not rule.newer:
            yield _say(target, rule.verdict, f"{here}. {rule.message}")
        elif _certain(rule, from_, to):
            version = _words(source, rule.what)
            backups = f"backups of {source.cluster} were written by {what} {version}"
            yield _say(target, rule.verdict, f"{here}, and {backups}. {rule.message}")
        elif _possible(rule, from_, to):
            backups = f"backups of {source.cluster} may be of a {what} that is concerned"
            remedy = f"Say its version in clusters/{source.cluster}.yaml ({rule.what}: …)."
            yield _say(target, "warn", f"{here}, and {backups}. {rule.message} {remedy}")


def _certain(rule: Rule, from_: Span, to: Version) -> bool:
    if rule.newer:
        return from_.least is not None and from_.least.line > to.line
    return rule.from_.holds(from_)


def _possible(rule: Rule, from_: Span, to: Version) -> bool:
    """Where nothing is known of the backups' cluster, nothing is held against it."""
    if rule.newer:
        return from_.below is not None and from_.below > Version(to.major, to.minor + 1)
    return from_ != ANY and rule.from_.meets(from_)


def _unknown(
    target: str, found: Versions, unseen: Mapping[str, str], rules: Iterable[Rule]
) -> Iterator[Check]:
    """What a rule would need to know of the target."""
    for name in sorted({rule.what for rule in rules}):
        text = getattr(found, name)
        if versions.parse(text) is not None:
            continue
        why = short(unseen.get(name, "it does not say"))
        if text:
            why = f"{short(text)} is no version"
        yield _say(
            target,
            "warn",
            f"Which {SYSTEMS[name]} {target} has is not known: {why}. What depends on it could not"
            f" be checked. Say it in clusters/{target}.yaml ({name}: …).",
        )


def _pair(target: str, found: Versions) -> Iterator[Check]:
    harvester, longhorn = versions.parse(found.harvester), versions.parse(found.longhorn)
    if harvester is None or longhorn is None or harvester.line not in SHIPPED:
        return
    shipped = SHIPPED[harvester.line]
    if shipped.holds(exactly(longhorn)):
        return
    yield _say(
        target,
        "warn",
        f"{target} has Harvester {short(found.harvester or '')} and Longhorn"
        f" {short(found.longhorn or '')}; that Harvester comes with Longhorn {shipped}. Wait for"
        f" the end of an upgrade there, or correct clusters/{target}.yaml.",
    )


def _span(text: str | None) -> Span:
    version = versions.parse(text)
    return ANY if version is None else exactly(version)


def _shipped(harvester: Span) -> Span:
    """The Longhorns that come with Harvesters of a span."""
    if harvester == ANY:
        return ANY
    inside = [
        longhorn
        for (major, minor), longhorn in SHIPPED.items()
        if harvester.meets(Span(Version(major, minor), Version(major, minor + 1)))
    ]
    if not inside:
        return ANY
    least = inside[0].least if harvester.least is not None else None
    below = inside[-1].below if harvester.below is not None else None
    return Span(least, below)


def _told(target: str, found: Versions) -> str:
    each = (f"{what} {_or_unknown(getattr(found, name))}" for name, what in SYSTEMS.items())
    return f"{target} has {', '.join(each)}"


def _told_source(source: Source) -> str:
    told = [f"{SYSTEMS[name]} {_words(source, name)}" for name in ("harvester", "longhorn")]
    return f"backups of {source.cluster} are of {', '.join(told)}"


def _words(source: Source, name: str) -> str:
    stated = getattr(source.stated, name)
    if versions.parse(stated) is not None:
        return short(stated)
    span = source.known.get(name, ANY)
    return "unknown" if span == ANY else str(span)


def _or_unknown(text: str | None) -> str:
    return short(text) if text else "unknown"


def _say(target: str, verdict: Verdict, message: str) -> Check:
    return Check(check=CHECK, subject=target, verdict=verdict, message=message)
