"""What railcar is measured against: each file is a program of its own, as its users would write it.

Each takes its data as one `.npz` (x_train, y_train, x_test, y_test; uint8), so that reading is not what is measured,
runs in the environment that its name begins with (`../environments/`), and prints one line of JSON at the end.
"""
