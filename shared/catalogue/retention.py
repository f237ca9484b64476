"""The rules of a bucket and a target in it -> what of them would harm backups: pure.

Longhorn's backups share their blocks: one that a new backup needs may be years old, so whatever
goes by age takes parts of backups that nobody meant to lose
(https://longhorn.io/docs/latest/snapshots-and-backups/backup-and-restore/set-backup-target/).
"""

from collections.abc import Iterator

from shared.models.bucket_rules import BucketRules, Lifecycle
from shared.validation import listed, short


def problems(rules: BucketRules, bucket: str, prefix: str) -> tuple[str, ...]:
    """A sentence each, with the remedy. Rules that ask for tags take none of Longhorn's objects,
    which have no tags.
    """
    return tuple(_problems(rules, bucket, prefix))


def _problems(rules: BucketRules, bucket: str, prefix: str) -> Iterator[str]:
    for each in rules.lifecycle:
        if not each.tags and _meet(each.prefix, prefix):
            yield from _of_rule(each, bucket)
    if rules.denied:
        yield (
            f"What bucket {bucket} does with backups by itself is not known in full: allow this"
            f" stack's roles {listed(rules.denied)} on it, or let its own policy do so."
        )


def _of_rule(rule: Lifecycle, bucket: str) -> Iterator[str]:
    what = f"what begins with {rule.prefix}" if rule.prefix else "all that lies there"
    named = f"Lifecycle rule {short(rule.name)} of bucket {bucket}"
    remedy = "Remove the rule, or narrow its filter."
    if rule.deleted:
        yield (
            f"{named} deletes {what} {rule.deleted}. Backups share their"
            f" blocks, and the newest may need one that is years old: it would be lost. {remedy}"
        )
    for each in rule.archived:
        yield (
            f"{named} moves {what} to {each}, from where nothing is read"
            f" before it is restored: no backup there could be. {remedy}"
        )


def _meet(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)
