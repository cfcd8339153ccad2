from typing import Annotated, Literal, TypeVar

from pydantic import BeforeValidator, Field

from tools.stripe_double.params import CreatedRange, ListParams, Metadata, Nested, Params, Proration, Text

Status = Literal["incomplete", "incomplete_expired", "trialing", "active", "past_due", "canceled", "unpaid", "paused"]
Feedback = Literal[
    "customer_service",
    "low_quality",
    "missing_features",
    "other",
    "switched_service",
    "too_complex",
    "too_expensive",
    "unused",
]
Element = TypeVar("Element")
ListOrUnset = Annotated[list[Element], BeforeValidator(lambda value: value or [])]  # an empty value unsets the list


class LineItem(Nested):
    price: str
    quantity: int = 1


class SubscriptionData(Nested):
    description: str | None = None
    metadata: dict[str, str] = Field(default_factory=dict)


class CheckoutCreate(Params):
    SDK_NAME = "checkout.SessionCreateParams"

    allow_promotion_codes: bool | None = None
    billing_address_collection: Literal["auto", "required"] | None = None
    cancel_url: str | None = None
    client_reference_id: str | None = None
    customer: str | None = None
    customer_email: str | None = None
    expires_at: int | None = None
    line_items: list[LineItem]
    locale: str | None = None
    metadata: dict[str, str] = Field(default_factory=dict)
    mode: Literal["subscription"]
    payment_method_collection: Literal["always", "if_required"] | None = None
    subscription_data: SubscriptionData = Field(default_factory=SubscriptionData)
    success_url: str


class CheckoutList(ListParams):
    SDK_NAME = "checkout.SessionListParams"

    created: CreatedRange | None = None
    customer: str | None = None
    status: Literal["open", "complete", "expired"] | None = None
    subscription: str | None = None


class ItemUpdate(Nested):
    deleted: bool = False
    id: str | None = None
    metadata: Metadata = None
    price: str | None = None
    quantity: int | None = None


class CancellationDetails(Nested):
    comment: Text = None
    feedback: Annotated[Feedback | None, BeforeValidator(lambda value: value or None)] = None


class SubscriptionUpdate(Params):
    SDK_NAME = "SubscriptionUpdateParams"

    cancel_at: int | Literal["", "max_period_end", "min_period_end"] = ""
    cancel_at_period_end: bool = False
    cancellation_details: CancellationDetails | None = None
    description: Text = None
    items: list[ItemUpdate] = Field(default_factory=list)
    metadata: Metadata = None
    payment_behavior: Literal[
        "allow_incomplete", "default_incomplete", "error_if_incomplete", "pending_if_incomplete"
    ] = "allow_incomplete"
    proration_behavior: Proration = "create_prorations"


class SubscriptionCancel(Params):
    SDK_NAME = "SubscriptionCancelParams"

    cancellation_details: CancellationDetails | None = None
    invoice_now: bool = False
    prorate: bool = False


class SubscriptionList(ListParams):
    SDK_NAME = "SubscriptionListParams"

    created: CreatedRange | None = None
    customer: str | None = None
    price: str | None = None
    status: Status | Literal["all", "ended"] | None = None


class ScheduleCreate(Params):
    SDK_NAME = "SubscriptionScheduleCreateParams"

    from_subscription: str
    metadata: Metadata = None


class PhaseItem(Nested):
    price: str
    quantity: int = 1


class Duration(Nested):
    interval: Literal["day", "week", "month", "year"]
    interval_count: int = 1


class Phase(Nested):
    duration: Duration | None = None
    end_date: int | Literal["now"] | None = None
    items: list[PhaseItem]
    metadata: Metadata = None
    proration_behavior: Proration = "create_prorations"
    start_date: int | Literal["now"] | None = None


class ScheduleUpdate(Params):
    SDK_NAME = "SubscriptionScheduleUpdateParams"

    end_behavior: Literal["cancel", "release"] = "release"
    metadata: Metadata = None
    phases: list[Phase] = Field(default_factory=list)
    proration_behavior: Proration = "create_prorations"


class ScheduleRelease(Params):
    SDK_NAME = "SubscriptionScheduleReleaseParams"

    preserve_cancel_date: bool = False


class ScheduleList(ListParams):
    SDK_NAME = "SubscriptionScheduleListParams"

    created: CreatedRange | None = None
    customer: str | None = None
