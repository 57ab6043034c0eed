"""A stand-in for the parts of ``nukescripts`` that the plugin uses."""

from nuke import executeInMainThread as executeDeferred  # noqa: F401
from nuke import standin


class panels:
    @staticmethod
    def registerWidgetAsPanel(widget, name, id, create=False):
        standin.panels[id] = (widget, name)


registerWidgetAsPanel = panels.registerWidgetAsPanel
