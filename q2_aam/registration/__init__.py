"""What QIIME 2 is told of each action: types, help texts, examples. Loads without torch."""
