"""Users, for staff."""

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.forms import BaseUserCreationForm

from accounts.models import User


class UserCreationForm(BaseUserCreationForm):
    class Meta:
        model = User
        fields = ("email",)


@admin.register(User)
class AccountAdmin(UserAdmin):
    """By address instead of user name. The tier is shown only: `billing` is its one writer (`manage.py set_tier`)."""

    add_form = UserCreationForm
    list_display = ("email", "name", "tier", "is_active", "is_staff", "created_at")
    list_filter = ("tier", "is_active", "is_staff")
    search_fields = ("email", "name", "id")
    ordering = ("-created_at",)
    readonly_fields = ("tier", "created_at", "last_login")
    fieldsets = (
        (None, {"fields": ("email", "name", "password", "tier")}),
        ("Permissions", {"fields": ("is_active", "is_staff", "is_superuser", "groups", "user_permissions")}),
        ("Dates", {"fields": ("created_at", "last_login")}),
    )
    add_fieldsets = ((None, {"classes": ("wide",), "fields": ("email", "password1", "password2")}),)
