"""Pages of numbers: one module a page, each for one app and for all apps of a partner."""
