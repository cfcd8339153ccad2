from typing import Any

from django_otp.oath import totp
from django_otp.plugins.otp_totp.models import TOTPDevice


def current_code(user: Any) -> str:
    """Return the present code of a user's authenticator app, new if there is none."""
    device, _ = TOTPDevice.objects.get_or_create(user=user, confirmed=True, defaults={"name": "authenticator"})
    return f"{totp(device.bin_key):06}"
