"""All settings, read strictly from the environment; see `.env.example`."""

# No default is unsafe in production; `lunaos.safety` refuses to start with unsafe values.

import sys
from datetime import timedelta
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from lunaos import beat_schedule, environment, safety
from lunaos.infra import browser_policy
from lunaos.infra.observability import logs, tracing
from lunaos.tuning import *

environment.print_configuration_errors()
environment.refuse_removed()
env = environment.Env()
BASE_DIR = Path(__file__).resolve().parent.parent
LUNAOS_HOME = Path(env.str("LUNAOS_HOME", default="") or BASE_DIR / ".lunaos")

# -- Safety ------------------------------------------------------------------------------------------------------------
DEBUG = env.bool("DJANGO_DEBUG", default=False)
SECRET_KEY = env.str("DJANGO_SECRET_KEY", default="")
SECRET_KEY_FALLBACKS = env.list("DJANGO_SECRET_KEY_FALLBACKS", default=[])
ALLOWED_HOSTS = env.list("DJANGO_ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
PUBLIC_URL = env.str("LUNAOS_PUBLIC_URL", default=f"http://localhost:{env.int('PORT', default=8000)}").rstrip("/")
# The first key encrypts, all decrypt: to rotate, prepend a new key and run `manage.py rotate_encryption_keys`.
ENCRYPTION_KEYS = env.list("LUNAOS_ENCRYPTION_KEYS", default=[])
safety.require_safe_settings(
    debug=DEBUG,
    secret_key=SECRET_KEY,
    hosts=ALLOWED_HOSTS,
    public_url=PUBLIC_URL,
    encryption_keys=ENCRYPTION_KEYS,
)
SILENCED_SYSTEM_CHECKS = [
    "security.W001",  # SecurityMiddleware: lunaos.api.middleware sets its headers on every response
    "security.W002",  # XFrameOptionsMiddleware: likewise; the proxy ends TLS (docs/operate/configure.md)
    "security.W003",  # CsrfViewMiddleware: the admin, the only part with cookies, protects its own views
]

# -- Applications ------------------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",  # before the admin, whose templates it replaces; our own site stays
    "accounts.admin_app.StaffAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.postgres",
    "django.contrib.staticfiles",
    "channels",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "corsheaders",
    "csp",
    "django_structlog",
    "anymail",
    "django_otp",
    "django_otp.plugins.otp_totp",
    "django_otp.plugins.otp_static",
    "billing.stripe_tables.apps.StripeTablesConfig",
    "accounts",
    "refusals",
    "billing",
    "apikeys",
    "runs",
    "agents",
    "rag",
    "chains",
    "web",
]
if not safety.is_live_key(env.str("STRIPE_SECRET_KEY", default="")) and (BASE_DIR / "tools").is_dir():
    INSTALLED_APPS += ["tools.stripe_double"]  # `manage.py fake_stripe`; images leave it out
if sys.argv[1:2] == ["runserver"]:
    INSTALLED_APPS.insert(0, "daphne")  # its one command; as an app it imports Twisted into every worker and command
# Outermost first. All run on the event loop: a synchronous one would cost every request two thread hops.
MIDDLEWARE = [
    "lunaos.api.request_metrics.count_requests",
    *(["lunaos.api.request_metrics.trace_requests"] if tracing.ON else []),
    "lunaos.api.middleware.security_headers",
    "lunaos.api.middleware.request_context",
    "lunaos.api.middleware.rate_limit_headers",
    "lunaos.api.middleware.ContentSecurityPolicy",
    "corsheaders.middleware.CorsMiddleware",
    "lunaos.api.bodies.early_errors",
    "lunaos.api.middleware.refuse_nul",
    "servestatic.middleware.ServeStaticMiddleware",
    "lunaos.api.middleware.set_content_length",
    "lunaos.api.admin_middleware.Sessions",
    "lunaos.api.admin_middleware.Authentication",
    "lunaos.api.admin_middleware.SecondFactor",
    "lunaos.api.admin_middleware.Messages",
    "lunaos.api.middleware.open_streams",
]
ROOT_URLCONF = "lunaos.urls"
ASGI_APPLICATION = "lunaos.asgi.application"
APPEND_SLASH = False
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
STATIC_URL = "/static/"
SERVESTATIC_USE_FINDERS = True  # files are served from the packages, without a collectstatic step
SERVESTATIC_ALLOW_ALL_ORIGINS = False
SERVESTATIC_ROOT = BASE_DIR / "web" / "root"  # files at the root: robots.txt, favicon.ico

# `/health` warns if the disk of LUNAOS_HOME has fewer free bytes.
MIN_FREE_BYTES = env.int("LUNAOS_MIN_FREE_MB", default=1024) * 2**20

# -- PostgreSQL --------------------------------------------------------------------------------------------------------
DATABASES = {"default": env.db("DATABASE_URL")}
DATABASES["default"]["ENGINE"] = "lunaos.infra.postgresql"
# Each thread keeps one connection (docs/adr/0003).
DATABASES["default"]["CONN_MAX_AGE"] = None
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# -- Valkey or Redis: cache, rate limits, queue ------------------------------------------------------------------------
REDIS_URL = environment.read_url("REDIS_URL", environment.VALKEY_SCHEMES)
EVENT_LOG_REDIS_URL = (
    environment.read_url("EVENT_LOG_REDIS_URL", environment.VALKEY_SCHEMES, default="") or REDIS_URL
)  # of runs' events
CACHES = {
    "default": {"BACKEND": "lunaos.infra.redis.SharedPoolCache", "LOCATION": REDIS_URL, "KEY_PREFIX": "lunaos"},
    "counters": {"BACKEND": "lunaos.infra.redis.CounterCache", "LOCATION": REDIS_URL, "KEY_PREFIX": "lunaos"},
}
RATELIMIT_USE_CACHE = "counters"

# -- Celery ------------------------------------------------------------------------------------------------------------
CELERY_BROKER_URL = REDIS_URL.replace("unix://", "redis+socket://").replace("?db=", "?virtual_host=")
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1  # waiting messages stay in the queue, for any worker
# A thread cannot be cancelled. A task that goes on while the broker is away is acknowledged late or delivered again;
# a second delivery finds the chain claimed.
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
# Chains wait for the network, indexing computes, other tasks are short: a queue for each, so that none delays another.
CELERY_TASK_ROUTES = {"chains.tasks.execute_chain": {"queue": "chains"}, "rag.tasks.index": {"queue": "indexing"}}
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULER = "lunaos.infra.task_queue.beat_scheduler:Scheduler"
CELERY_BEAT_SCHEDULE = beat_schedule.SCHEDULE
CELERY_IMPORTS = ["billing.beat"]  # above the services that enqueue tasks
DJANGO_STRUCTLOG_CELERY_ENABLED = True

# -- Accounts and tokens -----------------------------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
PASSWORD_HASHERS = ["accounts.signin.hashers.Argon2idHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "MinimumLengthValidator",  # 8 characters; for the admin and the commands, since the API checks it itself
        "UserAttributeSimilarityValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
AUTHENTICATION_BACKENDS = ["accounts.signin.backends.LockoutBackend", "django.contrib.auth.backends.ModelBackend"]
LOCKOUT_FAILURES = env.int("LUNAOS_LOCKOUT_FAILURES", default=10)  # wrong passwords of an account from one address
LOCKOUT_ACCOUNT_FAILURES = env.int("LUNAOS_LOCKOUT_ACCOUNT_FAILURES", default=30)  # from all unknown addresses
LOCKOUT_MINUTES = env.int("LUNAOS_LOCKOUT_MINUTES", default=15)  # of counting, and of the lock
if not 1 <= LOCKOUT_FAILURES <= LOCKOUT_ACCOUNT_FAILURES or LOCKOUT_MINUTES < 1:
    raise ImproperlyConfigured(
        "LUNAOS_LOCKOUT_FAILURES is 1 to LUNAOS_LOCKOUT_ACCOUNT_FAILURES, the minutes 1 at least."
    )
STAFF_SECOND_FACTOR = not DEBUG
if env.str("LUNAOS_STAFF_SECOND_FACTOR", default=""):  # an empty one is not set, and must not read as false
    STAFF_SECOND_FACTOR = env.bool("LUNAOS_STAFF_SECOND_FACTOR")
OTP_TOTP_ISSUER = "LunaOS"
RESEND_API_KEY = env.str("RESEND_API_KEY", default="")
# For runs. If not set, new accounts need a confirmed address where a mail provider is configured.
REQUIRE_VERIFIED_EMAIL, REQUIRE_VERIFIED_EMAIL_OF_ALL = bool(RESEND_API_KEY), False
if env.str("LUNAOS_REQUIRE_VERIFIED_EMAIL", default=""):  # an empty one is not set, and must not read as false
    REQUIRE_VERIFIED_EMAIL = REQUIRE_VERIFIED_EMAIL_OF_ALL = env.bool("LUNAOS_REQUIRE_VERIFIED_EMAIL")
SIGN_UPS_PER_DAY = env.int("LUNAOS_SIGN_UPS_PER_DAY", default=20)  # of one IPv4 address or IPv6 /64
if SIGN_UPS_PER_DAY < 1:
    raise ImproperlyConfigured(f"LUNAOS_SIGN_UPS_PER_DAY is {SIGN_UPS_PER_DAY}: set 1 or more.")
# Modules that export and delete a user's data, in this order (accounts/privacy/deletion.py).
PRIVACY_DATA_SOURCES = [
    "billing.privacy",
    "apikeys.privacy",
    "agents.privacy",
    "runs.privacy",
    "rag.privacy",
    "refusals.privacy",
    "accounts.privacy.account_data",
]
ADMIN_EMAIL = env.str("LUNAOS_ADMIN_EMAIL", default="")
ADMIN_PASSWORD = env.str("LUNAOS_ADMIN_PASSWORD", default="")
# The first pair signs, all verify: to rotate, prepend a new pair and drop the old one after seven days.
JWT_KEYS = env.dict("LUNAOS_JWT_KEYS", default={})
if any(len(secret) < 32 for secret in JWT_KEYS.values()):
    raise ImproperlyConfigured("A secret in LUNAOS_JWT_KEYS is shorter than 32 characters (RFC 7518, 3.2, for HS256).")
SIMPLE_JWT = {"ACCESS_TOKEN_LIFETIME": timedelta(days=7), "USER_ID_CLAIM": "sub", "ALGORITHM": "HS256"}

# -- API ---------------------------------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["apikeys.authentication.BearerAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated", "apikeys.permissions.HasScope"],
    "DEFAULT_THROTTLE_CLASSES": ["billing.throttles.RateThrottle"],
    "DEFAULT_RENDERER_CLASSES": ["lunaos.api.renderers.EnvelopeRenderer"],
    "DEFAULT_PARSER_CLASSES": ["lunaos.api.parsers.StrictJSONParser"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "lunaos.api.negotiation.IgnoreAccept",
    "DEFAULT_SCHEMA_CLASS": "lunaos.api.schema.EnvelopeSchema",
    "EXCEPTION_HANDLER": "lunaos.api.exceptions.handle",
    "DATETIME_FORMAT": None,  # the renderer writes times
    "UNAUTHENTICATED_USER": None,
    "NUM_PROXIES": env.int("LUNAOS_TRUSTED_PROXIES", default=0),
    "URL_FORMAT_OVERRIDE": None,
}
MAX_BODY_BYTES = env.int("LUNAOS_MAX_BODY_BYTES", default=1_048_576)
DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_BODY_BYTES
ANONYMOUS_REQUESTS_PER_MINUTE = 60
SIGN_IN_ATTEMPTS = "10/5m"
SPECTACULAR_SETTINGS = {
    "TITLE": "LunaOS API",
    "VERSION": "0.1.0",
    "DESCRIPTION": "Run AI developer agents behind one REST API, with exact quotas and streams that survive.",
    "OAS_VERSION": "3.1.1",
    "SERVERS": [{"url": PUBLIC_URL}],
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "POSTPROCESSING_HOOKS": ["lunaos.api.openapi.finish_document"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": f"{STATIC_URL}web/favicon.svg",
    "SWAGGER_UI_SETTINGS": {"persistAuthorization": False, "tryItOutEnabled": True, "deepLinking": True},
}

# -- Browsers: CORS and Content-Security-Policy ------------------------------------------------------------------------
CORS_ALLOWED_ORIGINS = environment.read_origins("LUNAOS_CORS_ORIGINS")
CORS_ALLOW_HEADERS = browser_policy.CORS_ALLOW_HEADERS
CORS_EXPOSE_HEADERS = browser_policy.CORS_EXPOSE_HEADERS
CONTENT_SECURITY_POLICY = browser_policy.CONTENT_SECURITY_POLICY
# Only the admin has cookies. A session lasts a working day from its login, and ends with the browser.
CSRF_COOKIE_SECURE = SESSION_COOKIE_SECURE = PUBLIC_URL.startswith("https://")
CSRF_COOKIE_HTTPONLY = SESSION_COOKIE_HTTPONLY = True
CSRF_COOKIE_SAMESITE = SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 10 * 3600
SESSION_EXPIRE_AT_BROWSER_CLOSE = True
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]
CSRF_FAILURE_VIEW = "web.views.csrf_failure"
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if REST_FRAMEWORK["NUM_PROXIES"] else None

# -- Appearance of the admin; its pages are `web.admin` ----------------------------------------------------------------
UNFOLD = {
    "SITE_TITLE": "LunaOS",
    "SITE_HEADER": "LunaOS",
    "SITE_SUBHEADER": "For staff",
    "SITE_URL": "/docs",
    "SITE_ICON": "web.admin.branding.icon",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": "web.admin.branding.icon"}],
    "STYLES": ["web.admin.branding.stylesheet"],
    "DASHBOARD_CALLBACK": "web.admin.dashboard.add_dashboard_context",
    "SIDEBAR": {"navigation": "web.admin.navigation.sidebar_menu"},
}

# -- Language models ---------------------------------------------------------------------------------------------------
LLM_PROVIDERS = {
    name: {
        "base_url": environment.read_url(f"{name.upper()}_BASE_URL", environment.HTTP_SCHEMES, default=base_url),
        "api_key": env.str(f"{name.upper()}_API_KEY", default=""),
        # Tokens of one answer; 0 leaves the limit to the agent. The embedded model would repeat itself for minutes.
        "max_tokens": env.int(f"{name.upper()}_MAX_TOKENS", default=512 if name == "local" else 0),
        "models": models,  # seeds the catalogue; the first is the default
    }
    for name, base_url, models in (
        ("deepseek", "https://api.deepseek.com/v1", ["deepseek-chat", "deepseek-reasoner"]),
        ("anthropic", "https://api.anthropic.com/v1", ["claude-sonnet-4-20250514"]),
        ("openai", "https://api.openai.com/v1", ["gpt-4o", "gpt-4o-mini"]),
        ("local", "", ["smollm2-135m-instruct"]),
    )
}
LLM_FALLBACK = env.list("LLM_FALLBACK", default=[])
if unknown := set(LLM_FALLBACK) - set(LLM_PROVIDERS):
    raise ImproperlyConfigured(f"LLM_FALLBACK names {', '.join(unknown)}; there are {', '.join(LLM_PROVIDERS)}.")
# Limits on the cost of these keys on a UTC day: of all runs, and of the free tier's; 0 sets no limit.
LLM_DAILY_LIMIT_USD = safety.read_usd("LLM_DAILY_LIMIT_USD", env.str("LLM_DAILY_LIMIT_USD", default=""))
LLM_FREE_DAILY_LIMIT_USD = safety.read_usd("LLM_FREE_DAILY_LIMIT_USD", env.str("LLM_FREE_DAILY_LIMIT_USD", default=""))
# For one chain of five steps; Celery's own time limits do not apply to threads.
CHAIN_TIMEOUT_S = 5 * (LLM_QUEUE_TIMEOUT_S * (1 + len(LLM_FALLBACK)) + LLM_RUN_TIMEOUT_S) + 300
CELERY_BROKER_TRANSPORT_OPTIONS = {
    # Above the longest run, or the broker would deliver a chain again while it is executed.
    "visibility_timeout": CHAIN_TIMEOUT_S + 600,
    # A queue that is down must not hold up a request that only puts a message into it.
    **{"socket_timeout": 5, "socket_connect_timeout": 1},
    **{"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0},
}

# -- Runs --------------------------------------------------------------------------------------------------------------
EVENT_LOG_TTL_S = env.int("LUNAOS_EVENT_LOG_HOURS", default=24) * 3600  # in Valkey, since the last event
ENDED_EVENT_LOG_TTL_S = 120  # after a run's end: by then readers find its events in PostgreSQL
EVENT_LOG_MAX_BYTES = 8 * 2**20  # of one run
ALL_EVENT_LOGS_MAX_BYTES = env.int("LUNAOS_EVENT_LOG_MB", default=256) * 2**20  # of all runs; no run begins above 80 %
if ALL_EVENT_LOGS_MAX_BYTES < 2 * EVENT_LOG_MAX_BYTES:
    raise ImproperlyConfigured("LUNAOS_EVENT_LOG_MB is 16 at least: one run may take 8.")
# Days for which texts are kept, by tier. `billing.tiers.retention_days` has a default for tiers that are not listed.
# `manage.py prepare` refuses names that are no tier: tiers are rows, which settings cannot read.
RETENTION_DAYS = {
    **dict.fromkeys(("free", "pro", "team"), 90),
    **{tier: int(days) if days.isdecimal() else 0 for tier, days in env.dict("LUNAOS_RETENTION_DAYS").items()},
}
if min(RETENTION_DAYS.values()) < 1:
    raise ImproperlyConfigured("LUNAOS_RETENTION_DAYS is days by tier, as in free=30,pro=90,team=365.")
HEARTBEAT_S = 5.0  # interval of an executor's heartbeats
LEASE_S = 15.0  # after so long without a heartbeat another worker takes a chain over
DEAD_EXECUTOR_AFTER_S = 15.0  # after so long an agent's run is ended if its process has died
ABANDONED_AFTER_S = 60.0  # after so long an agent's run is ended in any case
MAX_CHAIN_CRASHES = 4  # a chain is ended when one more worker crashes with it
STREAM_OPEN_WITHIN_S = 2.0

# -- Code search -------------------------------------------------------------------------------------------------------
EMBEDDINGS_BASE_URL = environment.read_url("EMBEDDINGS_BASE_URL", environment.HTTP_SCHEMES, default="")
EMBEDDINGS_API_KEY = env.str("EMBEDDINGS_API_KEY", default="")
EMBEDDINGS_MODEL = env.str("EMBEDDINGS_MODEL", default="all-minilm-l6-v2")
EMBEDDINGS_DIMENSION = env.int("EMBEDDINGS_DIMENSION", default=384)
EMBEDDINGS_WINDOW = env.int("EMBEDDINGS_WINDOW", default=512)  # tokens of the longest input
EMBEDDINGS_TOKENIZER = environment.read_file_path(
    "EMBEDDINGS_TOKENIZER"
)  # a tokenizer.json; else lengths are estimated
# Address of the previous model, for the time until `manage.py reindex` has finished.
EMBEDDINGS_PREVIOUS_BASE_URL = environment.read_url(
    "EMBEDDINGS_PREVIOUS_BASE_URL", environment.HTTP_SCHEMES, default=""
)
EMBEDDINGS_PREVIOUS_API_KEY = env.str("EMBEDDINGS_PREVIOUS_API_KEY", default="")
if not 0 < EMBEDDINGS_DIMENSION <= 4000:
    raise ImproperlyConfigured("EMBEDDINGS_DIMENSION must be 1 to 4000, which is what an index of halfvec holds.")
if EMBEDDINGS_WINDOW < 128:
    raise ImproperlyConfigured("EMBEDDINGS_WINDOW is the embedding model's longest input in tokens, 128 at least.")
RAG_MAX_BODY_BYTES = env.int("LUNAOS_RAG_MAX_BODY_BYTES", default=64 * 2**20)
RAG_BACKLOG_BYTES = env.int("LUNAOS_RAG_BACKLOG_BYTES", default=64 * 2**20)  # of an owner's waiting files; else 429
RAG_ATTEMPTS = 5  # a job is ended at this number of attempts

# -- Billing: Stripe ---------------------------------------------------------------------------------------------------
STRIPE_KEY = env.str("STRIPE_SECRET_KEY", default="")  # not the name that dj-stripe reads, which would store the key
STRIPE_WEBHOOK_SECRETS = env.list("STRIPE_WEBHOOK_SECRETS", default=[])  # each is accepted: to rotate, add the new one
STRIPE_HOST = env.str("STRIPE_API_HOST", default="https://api.stripe.com").rstrip("/")
STRIPE_API_VERSION = "2026-05-27.dahlia"  # the webhook endpoint at Stripe has the same version
STRIPE_LIVE_MODE = safety.is_live_key(STRIPE_KEY)
safety.require_safe_stripe_settings(
    debug=DEBUG, secret_key=STRIPE_KEY, webhook_secrets=STRIPE_WEBHOOK_SECRETS, api_host=STRIPE_HOST
)
BILLING_SUCCESS_URL = env.str("LUNAOS_BILLING_SUCCESS_URL", default="") or f"{PUBLIC_URL}/checkout/done"
BILLING_CANCEL_URL = env.str("LUNAOS_BILLING_CANCEL_URL", default="") or f"{PUBLIC_URL}/checkout/cancelled"
PAYMENT_GRACE = timedelta(days=21)  # Stripe may retry a failed payment for so long before the tier ends
DJSTRIPE_FOREIGN_KEY_TO_FIELD = "id"
MIGRATION_MODULES = {"djstripe": "billing.stripe_tables.migrations"}  # same tables, created faster (docs/adr/0020)

# -- Mail --------------------------------------------------------------------------------------------------------------
DEFAULT_FROM_EMAIL = env.str("LUNAOS_MAIL_FROM", default="LunaOS <noreply@localhost>")
if RESEND_API_KEY:
    EMAIL_BACKEND = "accounts.resend.EmailBackend"
    ANYMAIL = {"RESEND_API_KEY": RESEND_API_KEY, "REQUESTS_TIMEOUT": 10}
else:
    EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    EMAIL_FILE_PATH = env.str("LUNAOS_MAIL_FOLDER", default="") or str(LUNAOS_HOME / "mail")

# Addresses that get alerts, besides the log.
ALARM_EMAILS = env.list("LUNAOS_ALARM_EMAILS", default=[])

# -- Metrics -----------------------------------------------------------------------------------------------------------
METRICS_TOKEN = env.str("LUNAOS_METRICS_TOKEN", default="")  # without a token /metrics is 404
METRICS_PORT = env.int("LUNAOS_METRICS_PORT", default=0)  # of workers; web processes have /metrics
if 0 < len(METRICS_TOKEN) < 32:
    raise ImproperlyConfigured("LUNAOS_METRICS_TOKEN is shorter than 32 characters.")

# -- Errors at Sentry --------------------------------------------------------------------------------------------------
if SENTRY_DSN := env.str("SENTRY_DSN", default=""):
    from lunaos.infra.observability import sentry

    try:
        sentry.start(SENTRY_DSN, environment=env.str("SENTRY_ENVIRONMENT", default="production"))
    except ValueError as e:
        raise ImproperlyConfigured("SENTRY_DSN is no DSN, as https://key@sentry.example.com/1.") from e

# -- Time and language -------------------------------------------------------------------------------------------------
USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = False
LANGUAGE_CODE = "en-us"
FORMAT_MODULE_PATH = "lunaos.formats"

# -- Logs: JSON lines, or coloured text with DEBUG ---------------------------------------------------------------------
LOGGING = logs.configuration(debug=DEBUG, level=environment.read_log_level("LUNAOS_LOG_LEVEL", default="INFO"))
