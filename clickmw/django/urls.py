"""The URLconf of requests for the report: the report itself, and the site's own pages beside it.

The site's own are there because its middleware may look for them, as for its login page.
"""

from __future__ import annotations

import re

from django.conf import settings as site
from django.urls import include, path, re_path

from clickmw.django.install import door
from clickmw.django.views import show_report

_prefix = re.escape(door().settings.prefix.lstrip("/"))
urlpatterns = [
    re_path(rf"^{_prefix}/report(?:/.*)?$", show_report, name="clickmw-report"),
    path("", include(site.ROOT_URLCONF)),
]
