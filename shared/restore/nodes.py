"""The nodes that a machine demands -> the conditions that are its own, and their words."""

from typing import Any

from shared.jsonpath import dig
from shared.validation import listed, short

Term = dict[str, Any]

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
SOURCE_NODES = (
    "network.harvesterhci.io/",
    "cpumanager",  # Harvester 1.9 refuses a new machine that has it, and adds it where it is due
)
"""Labels of nodes by which Harvester itself places machines."""

MOST_TERMS = 3


def own_terms(affinity: Any) -> list[Term]:
    """The alternatives of which a node must meet one, without what Harvester added; none where any
    node will do.
    """
    terms = dig(affinity, "nodeAffinity", REQUIRED, "nodeSelectorTerms")
    if not isinstance(terms, list):
        return []
    cleaned = [_own_term(term) for term in terms]
    # They are alternatives: one without a condition left means any node
    return [term for term in cleaned if term] if all(cleaned) else []


def in_words(terms: list[Term]) -> str:
    """As selectors of labels are written, and no longer than a person reads."""
    said = [short(" and ".join(map(_condition, _conditions(term)))) for term in terms]
    if len(said) > MOST_TERMS:
        said[MOST_TERMS:] = [f"{len(said) - MOST_TERMS} more"]
    return " or ".join(said)


def _own_term(term: Term) -> Term:
    expressions = term.get("matchExpressions") or []
    kept = [each for each in expressions if not str(each.get("key", "")).startswith(SOURCE_NODES)]
    rest = {k: v for k, v in term.items() if k != "matchExpressions" and v}
    if kept:
        rest["matchExpressions"] = kept
    return rest


def _conditions(term: Term) -> list[Term]:
    return [*(term.get("matchExpressions") or []), *(term.get("matchFields") or [])]


def _condition(each: Term) -> str:
    said = f"{each.get('key')} {each.get('operator')}"
    values = each.get("values") or []
    if not values:
        return said
    return f"{said} ({listed(map(str, values))})"
