from csp.constants import NONCE, NONE, SELF

CORS_ALLOW_HEADERS = ["authorization", "content-type", "idempotency-key", "last-event-id", "x-otp", "x-request-id"]
CORS_EXPOSE_HEADERS = [
    *("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "Retry-After", "X-Request-Id", "X-Run-Id"),
    *("X-Usage-Used", "X-Usage-Limit", "X-Usage-Remaining", "X-Usage-Warning", "Server-Timing"),
    *("Idempotency-Replayed", "Deprecation", "Sunset", "Link"),
]
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF, NONCE],
        "style-src": [SELF, NONCE],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}
