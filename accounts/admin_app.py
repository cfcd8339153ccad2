"""The app config that makes StaffSite the admin's default site."""

# Apart from apps.py: settings load this module before there are models.

from django.contrib.admin.apps import AdminConfig


class StaffAdminConfig(AdminConfig):
    default_site = "accounts.staff.site.StaffSite"
