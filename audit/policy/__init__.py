"""What a team holds its machines to: the baseline that is committed, the rules, and what a check finds against them."""
