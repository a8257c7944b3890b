"""What railcar is measured against: each file is a program of its own, as its users would write it."""
