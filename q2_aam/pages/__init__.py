"""The visualizations: charts and tables as data, and the page around them."""
