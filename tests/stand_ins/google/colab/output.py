"""What Colab's page does for a notebook."""

calls: list[str] = []


def enable_custom_widget_manager(version: str = "") -> None:
    calls.append("enable_custom_widget_manager")
