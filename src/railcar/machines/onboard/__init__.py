"""What runs on a machine itself: programs of the standard library alone, for any Python from 3.8 on, which are copied
there with railcar and started by path. They import nothing of railcar."""
