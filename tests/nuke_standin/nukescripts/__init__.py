"""A stand-in for the parts of ``nukescripts`` that the plugin uses."""

from nuke import executeInMainThread as executeDeferred  # noqa: F401
from nuke import standin


class _Panel:
    """A panel around a widget, which is made from its expression when the panel opens."""

    def __init__(self, widget):
        self._make = widget
        self.widget = None

    def addToPane(self, pane):
        self.widget = eval(self._make)()
        pane.panels.append(self)
        return self

    def show(self):
        self.widget = eval(self._make)()
        self.widget.show()


class panels:
    @staticmethod
    def registerWidgetAsPanel(widget, name, id, create=False):
        standin.panels[id] = (widget, name)
        return _Panel(widget) if create else None
