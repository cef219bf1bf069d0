"""clickmw in a Django site.

``INSTALLED_APPS += ["clickmw.django"]``, ``"clickmw.django.ClickMWMiddleware"`` right after Django's
``SecurityMiddleware``, and ``CLICKMW = {...}`` with the settings, names in capitals.
"""

from clickmw.django.middleware import ClickMWMiddleware

__all__ = ["ClickMWMiddleware"]
