"""The demo: a Gradio page with a tab for each gallery. It only turns results into components."""
