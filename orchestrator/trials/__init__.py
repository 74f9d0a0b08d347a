"""Training of trials under Tune: one trial, its workers, the run of all of them, and the recorder of what they say."""
