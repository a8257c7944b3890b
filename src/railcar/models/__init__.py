"""Networks: from plain settings and `Features` to a keras.Model that takes raw input and gives logits."""
