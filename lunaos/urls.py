from channels.routing import URLRouter
from django.contrib import admin
from django.urls import URLPattern, URLResolver, path, re_path
from django.views.generic import RedirectView
from rest_framework.routers import SimpleRouter

from accounts.views import ActivityViewSet, AuthViewSet, PasswordViewSet, VerificationViewSet
from agents.views import AgentViewSet, ProviderViewSet
from apikeys.views import ApiKeyViewSet
from billing.views import BillingViewSet, WebhookView
from chains.views import ChainRunViewSet, ChainViewSet
from rag.views import IndexJobViewSet, RagViewSet, RepositoryViewSet
from runs.consumers import RunConsumer
from runs.views import KeyUsageViewSet, RunViewSet
from web import views as web
from web.account_pages import views as account_pages
from web.admin import dashboard, search
from web.billing_pages import views as billing_pages
from web.consumers import UnknownSocket
from web.documentation import views as documentation

router = SimpleRouter(trailing_slash=False, use_regex_path=False)
router.register("auth", AuthViewSet, basename="auth")
router.register("auth", VerificationViewSet, basename="verification")
router.register("auth/password", PasswordViewSet, basename="password")
router.register("auth/activity", ActivityViewSet, basename="activity")
router.register("api-keys", ApiKeyViewSet, basename="api-keys")
router.register("api-keys", KeyUsageViewSet, basename="key-usage")
router.register("billing", BillingViewSet, basename="billing")
router.register("agents", AgentViewSet, basename="agents")
router.register("providers", ProviderViewSet, basename="providers")
router.register("chains", ChainViewSet, basename="chains")
router.register("rag", RagViewSet, basename="rag")
router.register("rag/repositories", RepositoryViewSet, basename="repositories")
router.register("rag/jobs", IndexJobViewSet, basename="index-jobs")
router.register("runs", RunViewSet, basename="runs")
router.register("runs", ChainRunViewSet, basename="chain-runs")

urlpatterns: list[URLPattern | URLResolver] = [
    path("", web.LandingView.as_view(), name="landing"),
    path("status", web.StatusView.as_view(), name="status"),
    path("checkout/done", web.CheckoutDoneView.as_view(), name="checkout-done"),
    path("checkout/cancelled", web.CheckoutCancelledView.as_view(), name="checkout-cancelled"),
    path("pricing", billing_pages.PricingView.as_view(), name="pricing"),
    path("portal", billing_pages.PortalView.as_view(), name="portal"),
    path("pay", billing_pages.PayView.as_view(), name="pay"),
    path("confirm-email", account_pages.ConfirmEmailView.as_view(), name="confirm-email"),
    path("confirm-email/again", account_pages.ConfirmEmailAgainView.as_view(), name="confirm-email-again"),
    path("forgot-password", account_pages.ForgotPasswordView.as_view(), name="forgot-password"),
    path("reset-password", account_pages.ResetPasswordView.as_view(), name="reset-password"),
    path("health", web.HealthView.as_view()),
    path("ready", web.ReadyView.as_view()),
    path("metrics", web.MetricsView.as_view()),
    path("billing/webhook", WebhookView.as_view()),
    *router.urls,
    path("openapi.json", web.SchemaView.as_view(), name="schema"),
    path("docs", documentation.PageView.as_view(), {"name": "index"}, name="docs"),
    path("docs/api", documentation.ReferenceView.as_view(url_name="schema"), name="reference"),
    path("docs/search", documentation.SearchView.as_view(), name="docs-search"),
    path("docs/<path:name>", documentation.PageView.as_view(), name="docs-page"),
    path("llms.txt", documentation.LlmsView.as_view(), name="llms"),
    path("admin", RedirectView.as_view(url="/admin/"), name="admin-entry"),
    path("admin/parts/", admin.site.admin_view(dashboard.health_view), name="admin-parts"),
    path("admin/find/", admin.site.admin_view(search.search_view), name="admin-search"),
    path("admin/", admin.site.urls),
    re_path("", web.UnknownPathView.as_view()),
]
sockets = URLRouter([path("ws/runs/<uuid:run_id>", RunConsumer.as_asgi()), re_path("", UnknownSocket.as_asgi())])
handler400 = "web.views.bad_request"
handler403 = "web.views.forbidden"
handler404 = "web.views.not_found"
handler500 = "web.views.server_error"
