"""A stand-in for what Colab brings: secrets, the widget manager, Drive."""

from google.colab import drive, output, userdata

__all__ = ["drive", "output", "userdata"]
