"""Lookup of invoices by what is printed on them, for staff."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Q, QuerySet
from django.db.models.fields.json import KT
from djstripe.models import Invoice


@dataclass(frozen=True, slots=True)
class FoundInvoice:
    """An invoice as Stripe's last answer left it."""

    # `number` is its id at Stripe if it has none yet; `owner` is empty if the account is deleted.

    pk: Any
    number: str
    status: str
    owner: str
    created_at: datetime


def find(text: str, at_most: int) -> Iterator[FoundInvoice]:
    """Yield invoices with this number or id at Stripe."""
    for row in _matching(text).select_related("customer__subscriber")[:at_most]:
        user = row.customer.subscriber if row.customer else None
        status = str(row.stripe_data.get("status"))
        yield FoundInvoice(row.pk, row.printed_number or row.id, status, user.email if user else "", row.created)


def _matching(text: str) -> QuerySet[Any]:
    # Stripe writes numbers in capitals. The index `invoices_by_number` has the same expression.
    numbered = Invoice.objects.annotate(printed_number=KT("stripe_data__number"))
    return numbered.filter(Q(printed_number=text.upper()) | Q(id=text))
