"""On Citus: its tables lie where they should, its nodes know whose rows are asked for, and what it only prepared is not
taken for settled. Runs where TEST_CITUS_URL names a database on a coordinator.
"""
