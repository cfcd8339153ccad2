"""What a tier or a quota can refuse."""

from lunaos.errors import LunaError


class ProRequired(LunaError):
    code, status, message = "pro_required", 403, "Pro subscription required"


class QuotaExceeded(LunaError):
    code, status, message = ("quota_exceeded", 403, "The executions of this month are used up.")
