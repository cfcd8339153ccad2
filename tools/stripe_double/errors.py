from typing import Any


class StripeError(Exception):
    """An error answer in Stripe's format.

    Args:
        code: Stripe's code, such as `resource_missing`.
        param: the wrong parameter, in brackets as it was sent.
        kind: Stripe's type of error.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        code: str | None = None,
        param: str | None = None,
        kind: str = "invalid_request_error",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.fields = {"type": kind, "message": message, "code": code, "param": param}

    def body(self) -> dict[str, Any]:
        return {"error": {name: value for name, value in self.fields.items() if value is not None}}


def resource_missing(kind: str, identifier: str, *, param: str = "id") -> StripeError:
    """Return the error for an id that no object of the kind has."""
    name = kind.removeprefix("billing_portal.").replace("_", " ").replace("checkout.", "checkout.")
    # As Stripe does: 404 for an id in the path, 400 for one in a parameter.
    status = 404 if param == "id" else 400
    return StripeError(f"No such {name}: '{identifier}'", status=status, code="resource_missing", param=param)
