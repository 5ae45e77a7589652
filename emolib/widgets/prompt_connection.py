"""A notebook server that passes a kernel's messages on at once, for sound on its way to a page."""

from __future__ import annotations

from typing import Any

from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection

__all__ = ["PromptConnection"]


class PromptConnection(ZMQChannelsWebsocketConnection):
    """Jupyter's way from a kernel to a page, without the wait of Nagle's algorithm.

    With it, TCP holds a small message back until the page has acknowledged the one before, which takes up to 40 ms.
    Named to the server in its option `kernel_websocket_connection_class`, of JupyterLab and of Voilà alike.
    """

    def connect(self) -> Any:
        """Called by the server once the page's websocket is open."""
        self.websocket_handler.set_nodelay(True)
        return super().connect()
