"""The application that Django knows: system checks, and the report's entry in the admin."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig, apps


class ClickMWConfig(AppConfig):
    """``INSTALLED_APPS += ["clickmw.django"]``: no models, no migrations."""

    name = "clickmw.django"
    label = "clickmw"
    verbose_name = "Search clicks"

    def ready(self) -> None:
        """Register the checks, and the report on the admin's pages."""
        from django.core import checks

        from clickmw.django.checks import check_install

        checks.register(check_install, "clickmw")
        if apps.is_installed("django.contrib.admin"):
            _show_in_admin()


def _show_in_admin() -> None:
    """List the report on the admin's index and in its side bar, for staff."""
    from django.contrib import admin

    list_apps = admin.site.get_app_list

    def with_report(request: Any, app_label: str | None = None) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = list_apps(request, app_label)
        return listed if app_label else [*listed, _entry(request)]

    admin.site.get_app_list = with_report


def _entry(request: Any) -> dict[str, Any]:
    from clickmw.django.install import door

    address = f"{request.META.get('SCRIPT_NAME', '')}{door().settings.prefix}/report/"
    return {
        "name": "Search clicks",
        "app_label": "clickmw",
        "app_url": address,
        "has_module_perms": True,
        "models": [
            {
                "name": "Report",
                "object_name": "Report",
                "admin_url": address,
                "add_url": None,
                "view_only": True,
                "perms": {"view": True},
            }
        ],
    }
