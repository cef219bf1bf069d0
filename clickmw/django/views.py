"""The report as a view of the site, behind its session and its login."""

from __future__ import annotations

from django.conf import settings as site
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import NoReverseMatch, reverse
from django.views.decorators.csrf import csrf_exempt

from clickmw.django.install import door
from clickmw.django.middleware import answer_own, environ_of


@csrf_exempt  # its forms are refused when they come from another origin, as Django's would be
def show_report(request: HttpRequest) -> HttpResponseBase:
    """Answer with a page of the report; who is nobody yet may sign in first."""
    response = answer_own(door(), environ_of(request))
    assert response is not None
    user = getattr(request, "user", None)
    is_closed = response.status_code == 403 and request.method in ("GET", "HEAD")
    if is_closed and user is not None and not user.is_authenticated and not _has_password():
        return redirect_to_login(request.get_full_path(), _login_page())
    return response


def _has_password() -> bool:
    return bool(door().settings.admin_password)


def _login_page() -> str:
    """Return where to sign in: the admin's page where the site has one."""
    try:
        return str(reverse("admin:login"))
    except NoReverseMatch:
        return str(site.LOGIN_URL)
