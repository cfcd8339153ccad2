from typing import Literal

from tools.stripe_double.params import CreatedRange, ListParams, Metadata, Nested, Params

RefundReason = Literal["duplicate", "fraudulent", "requested_by_customer"]
DisputeStatus = Literal[
    "lost",
    "needs_response",
    "prevented",
    "under_review",
    "warning_closed",
    "warning_needs_response",
    "warning_under_review",
    "won",
]


class ChargeList(ListParams):
    SDK_NAME = "ChargeListParams"

    created: CreatedRange | None = None
    customer: str | None = None
    payment_intent: str | None = None


class PaymentFilter(Nested):
    type: Literal["payment_intent", "payment_record"]
    payment_intent: str | None = None


class InvoicePaymentList(ListParams):
    SDK_NAME = "InvoicePaymentListParams"

    created: CreatedRange | None = None
    invoice: str | None = None
    payment: PaymentFilter | None = None
    status: Literal["canceled", "open", "paid"] | None = None


class RefundCreate(Params):
    SDK_NAME = "RefundCreateParams"

    amount: int | None = None
    charge: str | None = None
    metadata: Metadata = None
    payment_intent: str | None = None
    reason: RefundReason | None = None


class RefundList(ListParams):
    SDK_NAME = "RefundListParams"

    charge: str | None = None
    created: CreatedRange | None = None
    payment_intent: str | None = None


class DisputeList(ListParams):
    SDK_NAME = "DisputeListParams"

    charge: str | None = None
    created: CreatedRange | None = None
    payment_intent: str | None = None
