"""Template tags: ``{% load clickmw %}``."""

from __future__ import annotations

from typing import Any

from django import template

from clickmw.django import install
from clickmw.django.middleware import environ_of
from clickmw.middleware import TemplatePage

register = template.Library()


@register.simple_tag(takes_context=True)
def click_search(
    context: template.Context, query: str | None, **listing: Any
) -> TemplatePage | None:
    """Open a page of results: ``{% click_search query total=12 module="BWEB" as page %}``.

    Its keywords are those of ``clicks.search()``. None while the site's own tests run.
    """
    if install.is_quiet():
        return None
    return install.door().search(query, environ=environ_of(context["request"]), **listing)


@register.simple_tag
def click_link(page: TemplatePage | None, url: str, **details: Any) -> str:
    """Return the link of one result: ``<a href="{% click_link page result.url %}">``."""
    return page.link(str(url), **details) if page else str(url)
