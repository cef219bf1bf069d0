"""A Django site in one file, with a search page and the admin, whose staff may see the report.

``python examples/django_site.py migrate``, ``createsuperuser``, ``runserver``; then /search?q=form."""

import os
import sys
from pathlib import Path

import django
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html, format_html_join

FOLDER = Path(os.environ.get("SITE_FOLDER", "."))
MIDDLEWARE = """
django.middleware.security.SecurityMiddleware
clickmw.django.ClickMWMiddleware
django.contrib.sessions.middleware.SessionMiddleware
django.middleware.csrf.CsrfViewMiddleware
django.contrib.auth.middleware.AuthenticationMiddleware
django.contrib.messages.middleware.MessageMiddleware
"""
APPS = ["admin", "auth", "contenttypes", "sessions", "messages"]
PROCESSORS = ["template.context_processors.request"]
PROCESSORS += [f"contrib.{app}.context_processors.{app}" for app in ("auth", "messages")]
settings.configure(
    SECRET_KEY=os.environ.get("SECRET_KEY", "for trying it out, not for the world"),
    BASE_DIR=FOLDER,
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": FOLDER / "site.db"}},
    INSTALLED_APPS=[*(f"django.contrib.{app}" for app in APPS), "clickmw.django"],
    MIDDLEWARE=MIDDLEWARE.split(),
    TEMPLATES=[
        {"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True,
         "OPTIONS": {"context_processors": [f"django.{name}" for name in PROCESSORS]}}
    ],
)  # fmt: skip
django.setup()
from django.contrib import admin  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402
from django.core.management import execute_from_command_line  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.urls import path  # noqa: E402

PAGES = {"Tax form": "/pages/1", "Form of address": "https://example.org/2", "Map": "/pages/3"}
LIST = '<h1>Search</h1><ol data-click-module="WEB" data-click-total="{}">{}</ol></body>'


def search(request: HttpRequest) -> HttpResponse:
    query = request.GET.get("q", "")
    found = [(url, title) for title, url in PAGES.items() if query.lower() in title.lower()]
    items = format_html_join("", '<li><a data-click href="{}">{}</a></li>', found)
    return HttpResponse(format_html(LIST, len(found), items))


urlpatterns = [path("search", search), path("admin/", admin.site.urls)]
application, asgi = get_wsgi_application(), get_asgi_application()
if __name__ == "__main__":
    execute_from_command_line(sys.argv)
