"""The page's colours and shapes for Gradio's components; `page/style.css` lays the page out.

Fonts are the system's own: Gradio's themes name some that a browser would fetch from elsewhere.
"""

import gradio as gr

_SANS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif")
_MONO = ("ui-monospace", "SF Mono", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace")


def lab_theme() -> gr.themes.Base:
    """Paper and ink with one green accent, light and dark."""
    theme = gr.themes.Base(
        primary_hue=gr.themes.colors.teal,
        neutral_hue=gr.themes.colors.stone,
        radius_size=gr.themes.sizes.radius_md,
        font=_SANS,
        font_mono=_MONO,
    )
    return theme.set(
        body_background_fill="#fbfaf7",
        body_background_fill_dark="#14171a",
        body_text_color="#1c2024",
        body_text_color_dark="#e8e6e1",
        body_text_color_subdued="#5c646d",
        body_text_color_subdued_dark="#a3abb3",
        background_fill_primary_dark="#1c2024",
        background_fill_secondary="#f5f3ee",
        background_fill_secondary_dark="#181b1f",
        block_background_fill_dark="#1c2024",
        border_color_primary="#dcdad3",
        border_color_primary_dark="#363c42",
        block_border_width="1px",
        block_label_background_fill_dark="#1c2024",
        block_label_text_color="#5c646d",
        block_label_text_color_dark="#a3abb3",
        block_title_text_color="#1c2024",
        block_title_text_color_dark="#e8e6e1",
        block_title_text_weight="600",
        input_background_fill="#ffffff",
        input_background_fill_dark="#14171a",
        input_border_color="#b9b6ad",
        input_border_color_dark="#4a5158",
        input_border_width="1px",
        button_primary_background_fill="#0b6e5f",
        button_primary_background_fill_hover="#095a4e",
        button_primary_background_fill_dark="#5fc7b3",
        button_primary_background_fill_hover_dark="#7bd6c4",
        button_primary_text_color_dark="#0c1f1b",
        button_secondary_background_fill="#ffffff",
        button_secondary_background_fill_dark="#1c2024",
        button_secondary_border_color="#b9b6ad",
        button_secondary_border_color_dark="#4a5158",
        color_accent="#0b6e5f",
        color_accent_soft="#e6f2ef",
        color_accent_soft_dark="#1d3530",
        loader_color_dark="#5fc7b3",
        link_text_color="#0b57a4",
        link_text_color_dark="#7db8f5",
    )
