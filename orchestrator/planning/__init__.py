"""What a study will do, before it does it: the plan, its cautions, and whether it is still the same study."""
