"""Attribution as it is kept: its rules, touchpoints, what was decided of each install, and the sums of it all."""
