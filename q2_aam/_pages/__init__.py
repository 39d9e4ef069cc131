"""What the visualizers show: one module a page, and the frame around all of them."""
