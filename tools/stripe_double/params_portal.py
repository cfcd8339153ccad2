from typing import Literal

from pydantic import Field

from tools.stripe_double.params import ListParams, Metadata, Nested, Params, Proration, Text
from tools.stripe_double.params_subscriptions import Feedback, ListOrUnset


class SubscriptionReference(Nested):
    subscription: str


class ConfirmedItem(Nested):
    id: str
    price: str | None = None
    quantity: int | None = None


class Confirmation(Nested):
    items: list[ConfirmedItem]
    subscription: str


class Redirect(Nested):
    return_url: str


class AfterCompletion(Nested):
    redirect: Redirect | None = None
    type: Literal["portal_homepage", "redirect"] = "portal_homepage"


class FlowData(Nested):
    after_completion: AfterCompletion = Field(default_factory=AfterCompletion)
    subscription_cancel: SubscriptionReference | None = None
    subscription_update: SubscriptionReference | None = None
    subscription_update_confirm: Confirmation | None = None
    type: Literal["payment_method_update", "subscription_cancel", "subscription_update", "subscription_update_confirm"]


class PortalCreate(Params):
    SDK_NAME = "billing_portal.SessionCreateParams"

    configuration: str | None = None
    customer: str
    flow_data: FlowData | None = None
    locale: str | None = None
    return_url: str | None = None


class BusinessProfile(Nested):
    headline: Text = None
    privacy_policy_url: str | None = None
    terms_of_service_url: str | None = None


class Feature(Nested):
    enabled: bool = False


class CustomerUpdateFeature(Feature):
    allowed_updates: ListOrUnset[Literal["address", "email", "name", "phone", "shipping", "tax_id"]] = Field(
        default_factory=list
    )


class CancellationReason(Feature):
    options: ListOrUnset[Feedback] = Field(default_factory=list)


class SubscriptionCancelFeature(Feature):
    cancellation_reason: CancellationReason | None = None
    mode: Literal["at_period_end", "immediately"] = "at_period_end"
    proration_behavior: Proration = "none"


class PortalProduct(Nested):
    prices: list[str]
    product: str


class Condition(Nested):
    type: Literal["decreasing_item_amount", "shortening_interval"]


class ScheduleAtPeriodEnd(Nested):
    conditions: ListOrUnset[Condition] = Field(default_factory=list)


class SubscriptionUpdateFeature(Feature):
    default_allowed_updates: ListOrUnset[Literal["price", "promotion_code", "quantity"]] = Field(default_factory=list)
    products: ListOrUnset[PortalProduct] = Field(default_factory=list)
    proration_behavior: Proration = "none"
    schedule_at_period_end: ScheduleAtPeriodEnd | None = None


class Features(Nested):
    customer_update: CustomerUpdateFeature | None = None
    invoice_history: Feature | None = None
    payment_method_update: Feature | None = None
    subscription_cancel: SubscriptionCancelFeature | None = None
    subscription_update: SubscriptionUpdateFeature | None = None


class ConfigurationUpdate(Params):
    SDK_NAME = "billing_portal.ConfigurationUpdateParams"

    active: bool = True
    business_profile: BusinessProfile | None = None
    default_return_url: Text = None
    features: Features | None = None
    metadata: Metadata = None
    name: Text = None


class ConfigurationCreate(Params):
    SDK_NAME = "billing_portal.ConfigurationCreateParams"

    business_profile: BusinessProfile | None = None
    default_return_url: Text = None
    features: Features
    metadata: Metadata = None
    name: Text = None


class ConfigurationList(ListParams):
    SDK_NAME = "billing_portal.ConfigurationListParams"

    active: bool | None = None
    is_default: bool | None = None
