"""Pictures of numbers: from values to places and words, one module a picture. Pure.

Every place is a share of the picture's own size, in percent or in thousandths, so that it fits any width without a
script; every number is said here, and templates/portal/_charts.html only puts it where it belongs.
"""
