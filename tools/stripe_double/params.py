"""The parameters that the double accepts, a class per request; others are refused.

`SDK_NAME` is the name of the SDK's class, against which `tests/test_params.py` checks every field.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from tools.stripe_double import errors, forms


def _empty_to_none(value: Any) -> Any:
    return None if value == "" else value


Text = Annotated[str | None, BeforeValidator(_empty_to_none)]  # an empty value unsets the field
Number = Annotated[int | None, BeforeValidator(_empty_to_none)]
Metadata = Annotated[dict[str, str] | None, BeforeValidator(_empty_to_none)]
Proration = Literal["always_invoice", "create_prorations", "none"]


class Nested(BaseModel):
    model_config = ConfigDict(extra="forbid")

    def sent_fields(self) -> dict[str, Any]:
        """Return the parameters that were sent, without defaults."""
        return {name: getattr(self, name) for name in self.model_fields_set if name != "expand"}


class Params(Nested):
    SDK_NAME: ClassVar[str] = ""

    expand: list[str] = Field(default_factory=list)


class CreatedRange(Nested):
    gt: int | None = None
    gte: int | None = None
    lt: int | None = None
    lte: int | None = None


class ListParams(Params):
    limit: int = Field(default=10, ge=1, le=100)
    starting_after: str | None = None
    ending_before: str | None = None


class Address(Nested):
    city: Text = None
    country: Text = None
    line1: Text = None
    line2: Text = None
    postal_code: Text = None
    state: Text = None


class CustomerUpdate(Params):
    SDK_NAME = "CustomerUpdateParams"

    address: Address | None = None
    description: Text = None
    email: Text = None
    metadata: Metadata = None
    name: Text = None
    phone: Text = None
    preferred_locales: list[str] | None = None


class CustomerCreate(CustomerUpdate):
    SDK_NAME = "CustomerCreateParams"


class CustomerList(ListParams):
    SDK_NAME = "CustomerListParams"

    created: CreatedRange | None = None
    email: str | None = None


class ProductUpdate(Params):
    SDK_NAME = "ProductUpdateParams"

    active: bool = True
    default_price: str | None = None
    description: Text = None
    metadata: Metadata = None
    name: str | None = None
    statement_descriptor: str | None = None
    unit_label: Text = None
    url: Text = None


class ProductCreate(Params):
    SDK_NAME = "ProductCreateParams"

    active: bool = True
    description: Text = None
    id: str | None = None
    metadata: Metadata = None
    name: str
    statement_descriptor: str | None = None
    unit_label: Text = None
    url: Text = None


class ProductList(ListParams):
    SDK_NAME = "ProductListParams"

    active: bool | None = None
    created: CreatedRange | None = None
    ids: list[str] | None = None


class Recurring(Nested):
    interval: Literal["day", "week", "month", "year"]
    interval_count: int = 1


class PriceCreate(Params):
    SDK_NAME = "PriceCreateParams"

    active: bool = True
    currency: str
    lookup_key: str | None = None
    metadata: Metadata = None
    nickname: str | None = None
    product: str
    recurring: Recurring | None = None
    tax_behavior: Literal["exclusive", "inclusive", "unspecified"] = "unspecified"
    transfer_lookup_key: bool = False
    unit_amount: int


class PriceUpdate(Params):
    SDK_NAME = "PriceUpdateParams"

    active: bool = True
    lookup_key: Text = None
    metadata: Metadata = None
    nickname: Text = None
    transfer_lookup_key: bool = False


class PriceList(ListParams):
    SDK_NAME = "PriceListParams"

    active: bool | None = None
    created: CreatedRange | None = None
    currency: str | None = None
    lookup_keys: list[str] | None = None
    product: str | None = None
    type: Literal["one_time", "recurring"] | None = None


class InvoiceList(ListParams):
    SDK_NAME = "InvoiceListParams"

    created: CreatedRange | None = None
    customer: str | None = None
    status: Literal["draft", "open", "paid", "uncollectible", "void"] | None = None
    subscription: str | None = None


class EventList(ListParams):
    SDK_NAME = "EventListParams"

    created: CreatedRange | None = None
    type: str | None = None
    types: list[str] | None = None


class WebhookEndpointCreate(Params):
    SDK_NAME = "WebhookEndpointCreateParams"

    api_version: str | None = None
    description: Text = None
    enabled_events: list[str]
    metadata: Metadata = None
    url: str


class WebhookEndpointList(ListParams):
    SDK_NAME = "WebhookEndpointListParams"


def read(shape: type[Nested], sent: dict[str, Any]) -> Any:
    """Parse the parameters of a request; a StripeError names the wrong one."""
    try:
        return shape.model_validate(sent)
    except ValidationError as e:
        raise _refusal(e.errors()[0]) from e


def _refusal(fault: Any) -> errors.StripeError:
    param = forms.bracketed(tuple(fault["loc"]))
    if fault["type"] == "extra_forbidden":
        return errors.StripeError(f"Received unknown parameter: {param}", code="parameter_unknown", param=param)
    if fault["type"] == "missing":
        return errors.StripeError(f"Missing required param: {param}.", code="parameter_missing", param=param)
    return errors.StripeError(f"Invalid {param}: {fault['msg']}", code="parameter_invalid", param=param)
