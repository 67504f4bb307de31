"""The page's colours for Gradio's components: paper and ink with one green accent, light and dark.

`page/style.css` lays the page out. Fonts are the system's own: Gradio's themes name some that a
browser would fetch from elsewhere.
"""

import gradio as gr

_SANS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif")
_MONO = ("ui-monospace", "SF Mono", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace")

_LIGHT = {
    "body_background_fill": "#fbfaf7",
    "body_text_color": "#1c2024",
    "body_text_color_subdued": "#5c646d",
    "background_fill_secondary": "#f5f3ee",
    "border_color_primary": "#dcdad3",
    "block_border_width": "1px",
    "block_title_text_weight": "600",
    "input_background_fill": "#ffffff",
    "button_primary_background_fill": "#0b6e5f",
    "button_primary_background_fill_hover": "#095a4e",
    "button_secondary_background_fill": "#ffffff",
    "color_accent": "#0b6e5f",
}
_DARK = {
    "body_background_fill_dark": "#14171a",
    "body_text_color_dark": "#e8e6e1",
    "body_text_color_subdued_dark": "#a3abb3",
    "background_fill_primary_dark": "#1c2024",
    "background_fill_secondary_dark": "#181b1f",
    "block_background_fill_dark": "#1c2024",
    "border_color_primary_dark": "#363c42",
    "button_primary_background_fill_dark": "#5fc7b3",
    "button_primary_background_fill_hover_dark": "#7bd6c4",
    "button_primary_text_color_dark": "#0c1f1b",
}


def lab_theme() -> gr.themes.Base:
    """Returns the theme."""
    theme = gr.themes.Base(primary_hue="teal", neutral_hue="stone", font=_SANS, font_mono=_MONO)
    return theme.set(**_LIGHT, **_DARK)
