"""What can go wrong, in the words of the person who has to mend it."""


class ClickMWError(Exception):
    """Base of every error of ours; never raised itself."""


class SettingsError(ClickMWError):
    """The configuration is wrong. Raised at start; says what, why, and what to write instead."""


class BadToken(ClickMWError):
    """A redirect link was altered or made up. The visitor gets 400; nothing is followed."""


class BadEvent(ClickMWError):
    """A payload does not describe an event. Each protocol puts the reason into its own answer."""


class BadFilter(ClickMWError):
    """A report was asked for what does not exist. The message is one sentence for the URL's author."""


class AccessDenied(ClickMWError):
    """The caller may not see this. The message says how access is given."""


class StoreError(ClickMWError):
    """The store cannot be read or written now. Events stay in the journal."""


class StoreTooNew(StoreError):
    """The store was written by a later clickmw: it is left untouched until this one is upgraded."""
